// The token with which requests are sent. It stays in this page: a reload forgets it.

import { labelled, make } from "./elements.js";

const field = make("input", { type: "password", autocomplete: "off", spellcheck: false, id: "token" });

export const token = () => field.value.trim();

/** Shows the field for the token and, on a server with demo users, a choice of them. */
export async function showCaller(place) {
  place.append(
    make("h2", {}, "Try it"),
    make("p", {}, "Each route and each command below has a form. Requests are real: tokens move."),
    labelled("Token of the caller", field),
  );
  const answer = await fetch("/api/demo/users");
  if (answer.ok) place.append(choice((await answer.json()).items));
}

function choice(users) {
  const options = users.map(({ displayName, role, token }) => new Option(`${displayName}, ${role}`, token));
  const select = make("select", { onchange: () => (field.value = select.value) }, new Option("nobody", ""), ...options);
  return labelled("A user of the demo", select);
}
