// Makes the elements of the forms. Text only ever becomes a text node, so that no answer can add markup to the page.

/** Returns an element; `properties` are set on it, except `aria-…`, which become attributes. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Returns a field with its label. */
export function labelled(text, field) {
  return make("label", {}, make("span", {}, text), field);
}

/** Returns a form that calls `send` and disables its button until that has ended. */
export function form(button, send, ...children) {
  const submit = make("button", { type: "submit" }, button);
  const onsubmit = async (event) => {
    event.preventDefault();
    submit.disabled = true;
    await send();
    submit.disabled = false;
  };
  return make("form", { onsubmit, className: "try" }, ...children, submit);
}
