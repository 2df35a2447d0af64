// Aspects, rated per response and apart from the ranking.
export class Ratings {
  constructor({ workbench }) {
    this.inputs = [...workbench.querySelectorAll("[data-aspect]")];
  }

  restore({ ratings = {} }) {
    for (const input of this.inputs) {
      input.checked = ratings[input.dataset.aspect]?.[input.dataset.number] === Number(input.value);
    }
  }

  save() {
    const ratings = {};
    for (const { checked, dataset, value } of this.inputs) {
      if (checked) (ratings[dataset.aspect] ??= {})[dataset.number] = Number(value);
    }
    return { ratings };
  }

  get answer() {
    return this.save();
  }
}
