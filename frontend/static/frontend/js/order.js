// What is for batches in the order of uncertainty alone is out of the way until that order is chosen.
const order = document.getElementById("id_order");
const fields = ["control_share", "reward_models"]
  .map((name) => document.getElementById(`id_${name}`)?.closest(".field"))
  .filter(Boolean);

function show() {
  for (const field of fields) field.hidden = order.value !== "uncertainty";
}

order.addEventListener("change", show);
show();
