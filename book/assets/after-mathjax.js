// The widget manager typesets through MathJax 2's name; answer it with MathJax 3.
if (window.MathJax && !window.MathJax.Hub) {
  window.MathJax.Hub = {
    Queue: ([, , element]) => window.MathJax.typesetPromise?.(element ? [element] : undefined),
  };
}
