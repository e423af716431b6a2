// On a narrow screen a tap on a figure makes it large, and another fits it to the page again.
document.addEventListener("click", ({ target }) => {
  if (matchMedia("(max-width: 40rem)").matches && target.matches(".cell_output img")) {
    target.classList.toggle("enlarged");
  }
});
