// Training settings that the chosen recipe does not have are out of the way; the server passes over them in any case.
const recipe = document.getElementById("id_recipe");

function show() {
  for (const group of document.querySelectorAll("[data-recipes]")) {
    const applies = group.dataset.recipes.split(" ").includes(recipe.value);
    group.hidden = !applies;
    group.disabled = !applies;
  }
}

recipe.addEventListener("change", show);
show();
