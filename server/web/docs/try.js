// Lets the reader of /api/docs send each request and each command that the page describes.

import { showCaller } from "./caller.js";
import { make } from "./elements.js";
import { showRequests } from "./requests.js";
import { showSession } from "./session.js";

const read = async (name) => (await fetch(`/api/${name}.json`)).json();

const place = make("section", { className: "caller" });
document.querySelector("nav").after(place);
showCaller(place);
showRequests(await read("openapi"));
showSession(await read("asyncapi"));
