// Defines all elements: `<script type="module" src="…/elements/elements.js">`. A page gives them the SDK's client.

import "./calls_and_streams.js";
import "./money.js";

export { useClient } from "./base/client.js";
