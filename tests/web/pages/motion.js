// Collects as `moved` each animation and transition that begins, in the document and in all shadow roots: their events
// do not leave the root in which they begin. Runs before all scripts of the page, which attach the roots.

(() => {
  globalThis.moved = [];

  function follow(root) {
    root.addEventListener("animationstart", ({ animationName }) => moved.push(animationName));
    root.addEventListener("transitionrun", ({ propertyName }) => moved.push(propertyName));
  }

  const { attachShadow } = Element.prototype;
  Element.prototype.attachShadow = function (init) {
    const root = attachShadow.call(this, init);
    follow(root);
    return root;
  };
  follow(document);
})();
