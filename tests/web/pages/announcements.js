// Collects as `announced` what a screen reader would say of the page. Runs before all scripts of the page, which attach
// the shadow roots: a change inside of one is seen by an observer of that root alone.
//
// A polite live region announces a change only if it was on the page, and not hidden, when the page was last looked at:
// screen readers miss most regions that are inserted together with their text. An alert is announced in both cases.
// A control or heading that receives the focus is announced with its description, and nothing behind a modal dialog is.

(() => {
  const LOOK_MS = 50;
  const REGIONS = "[role=status], [role=alert], [role=log], [aria-live=polite], [aria-live=assertive]";
  const roots = [document];
  let known = new Set(); // regions that were there at the last look
  globalThis.announced = [];

  const observer = new MutationObserver((records) => {
    const changed = new Map(); // regions, and the nodes that are new in each
    for (const { target, addedNodes } of records) {
      const news = target.nodeType === Node.TEXT_NODE ? [target] : [...addedNodes];
      const withText = news.filter((node) => node.isConnected && textOf(node));
      const region = closestRegion(target);
      if (region && withText.length) changed.set(region, [...(changed.get(region) ?? []), ...withText]);
      for (const alert of withText.flatMap(alertsIn)) changed.set(alert, [alert]);
    }
    for (const [region, nodes] of changed) announce(region, nodes);
  });

  function announce(region, nodes) {
    const isAlert = region.role === "alert";
    if (!isAlert && !known.has(region)) return;
    const isWhole = (isAlert || region.role === "status") && region.ariaAtomic !== "false"; // atomic by default
    say(isWhole ? textOf(region) : nodes.map(textOf).join(" "), region);
  }

  function say(text, element) {
    if (text && isShown(element)) announced.push(text);
  }

  function closestRegion(node) {
    for (let each = node; each; each = parentOf(each)) if (each.matches?.(REGIONS)) return each;
    return null;
  }

  function parentOf(node) {
    return node.assignedSlot ?? node.parentNode ?? node.host ?? null;
  }

  function alertsIn(node) {
    if (node.nodeType !== Node.ELEMENT_NODE) return [];
    return [node, ...node.querySelectorAll("[role=alert]")].filter(({ role }) => role === "alert");
  }

  // The text as it is read, through slots and shadow roots, without what is hidden.
  function textOf(node) {
    return partsOf(node).join("").replace(/\s+/g, " ").trim();
  }

  function partsOf(node) {
    if (node.nodeType === Node.TEXT_NODE) return [node.data];
    if (node.nodeType !== Node.ELEMENT_NODE || !isVisible(node) || node.localName === "style") return [];
    const slotted = node.localName === "slot" ? node.assignedNodes() : [];
    const children = slotted.length ? slotted : (node.shadowRoot ?? node).childNodes;
    return [" ", ...[...children].flatMap(partsOf), " "];
  }

  function isVisible(element) {
    const isContents = getComputedStyle(element).display === "contents"; // has no box of its own
    return element.ariaHidden !== "true" && (isContents || element.checkVisibility());
  }

  function isShown(element) {
    const within = [];
    for (let each = element; each; each = parentOf(each)) within.push(each);
    const elements = within.filter(({ nodeType }) => nodeType === Node.ELEMENT_NODE);
    const dialog = all("dialog:modal").at(-1);
    return element.isConnected && elements.every(isVisible) && (!dialog || elements.includes(dialog));
  }

  function all(selector) {
    return roots.filter(({ isConnected }) => isConnected).flatMap((root) => [...root.querySelectorAll(selector)]);
  }

  function focused(event) {
    const element = event.composedPath()[0];
    if (element.getRootNode() !== event.currentTarget) return; // its own root announces it
    const described = element.getAttribute("aria-describedby")?.split(" ") ?? [];
    const descriptions = described.map((id) => element.getRootNode().getElementById(id)).filter(Boolean);
    const name = element.ariaLabel ?? (textOf(element) || [...(element.labels ?? [])].map(textOf).join(" "));
    say([name, ...descriptions.map(textOf)].join(" ").trim(), element);
  }

  function look() {
    known = new Set(all(REGIONS).filter(isShown));
  }

  function follow(root) {
    observer.observe(root, { subtree: true, childList: true, characterData: true });
    root.addEventListener("focusin", focused);
  }

  const { attachShadow } = Element.prototype;
  Element.prototype.attachShadow = function (init) {
    const root = attachShadow.call(this, init);
    roots.push(root);
    follow(root);
    return root;
  };
  follow(document);
  setInterval(look, LOOK_MS);
})();
