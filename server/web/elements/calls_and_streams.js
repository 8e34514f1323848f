// Defines the elements of calls and streams.

import { HmCall } from "./call.js";

export { HmCall };
export { useClient } from "./client.js";

customElements.define("hm-call", HmCall);
