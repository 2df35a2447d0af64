// On a project's other pages: sends the answers that a ranking page left behind in this browser.
import { toast } from "../toasts.js";
import { Outbox } from "./outbox.js";
import { skipInWords } from "./troubles.js";

const { user } = document.body.dataset;

// A ranking page sends them itself.
if (user && !document.querySelector("[data-task]")) {
  let sent = 0;
  const outbox = new Outbox(Number(user), {
    asks: () => ({ besides: null }),
    taken: () => (sent += 1),
    refused(entry, { code, sentence }) {
      if (entry.kind === "skip") {
        toast(skipInWords(entry, code));
        outbox.dismiss(entry.key);
      } else {
        toast(`Your answer to “${entry.title}” was not taken. ${sentence} What you gave is still in this browser: open Rank to look at it.`, "error");
      }
    },
  });
  await outbox.send();
  if (sent) toast(sent === 1 ? "An answer that waited here was sent." : `${sent} answers that waited here were sent.`, "success");
}
