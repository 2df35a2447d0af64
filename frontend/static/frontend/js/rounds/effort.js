// The form of a round while it is filled in: how much work it asks of people, and who compares.
const line = document.querySelector("[data-effort]");
const fields = ["tasks", "overlap", "responses_per_task"].map((name) => document.getElementById(`id_${name}`));

function say() {
  if (fields.some((field) => !field.validity.valid)) {
    line.textContent = "";
    return;
  }
  const number = (name) => document.getElementById(`id_${name}`).valueAsNumber;
  const prompts = Number(line.dataset.effort);
  const tasks = Math.min(number("tasks") || prompts, prompts);
  const people = number("overlap");
  const rankings = tasks * people;
  const responses = number("responses_per_task");
  line.textContent = rankings && responses
    ? `${tasks} tasks × ${people} ${people === 1 ? "person" : "people"}: ${rankings.toLocaleString("en")} rankings of ${responses} responses each.`
    : "";
}

for (const field of fields) field.addEventListener("input", say);
say();

const judge = document.getElementById("id_judge");
if (judge) {
  const oracle = document.getElementById("id_oracle").closest(".field");
  const show = () => (oracle.hidden = judge.value !== "oracle");
  judge.addEventListener("change", show);
  show();
}
