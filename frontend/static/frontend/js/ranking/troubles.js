// What is said while answers cannot be sent, and of a skip that came too late.

/**
 * `waiting`: how many answers wait; `back`: on the history's page, where no other task is expected. Returns the sentences
 * for answers that are not sent again by themselves (`givenUp`), where nothing can be done meanwhile (`stuck`), and where
 * one can go on (`meanwhile`).
 */
export function troubleInWords(error, { seconds, waiting, back }) {
  const answers = waiting > 1 ? "Your answers are" : "Your answer is";
  const why = error.failed ? "The server failed at this." : "No connection to the server.";
  const soon = seconds ? `again in ${seconds} seconds` : "once it is reached";
  const kept = waiting ? ` ${answers} kept in this browser and sent ${soon}${error.failed ? "" : ", and as soon as you are back online"}.` : "";
  return {
    givenUp: `The server fails at this each time (error ${error.status}), so it is not sent again by itself. Nothing is lost: ${answers.toLowerCase()} kept in this browser. Try again in a few minutes; if it still fails, tell whoever runs this Rankloop, whose log has the reason.`,
    stuck: `${why}${kept}${back ? "" : " No other task is here until then."}`,
    meanwhile: `${why} ${answers} kept in this browser and sent ${soon}. You can go on.`,
  };
}

const TOO_LATE = {
  lease_lost: "its time had run out, so it may come to you again",
  closed: "its batch was closed",
  conflict: "you have ranked it",
};

/** Of a skip that the server refused with that code, calmly: nothing that a person wrote went with it. */
export function skipInWords({ title }, code) {
  return `Your skip of “${title}” came too late: ${TOO_LATE[code] ?? "the task is no longer yours"}. Nothing is lost by that.`;
}
