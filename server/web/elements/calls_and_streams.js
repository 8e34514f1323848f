// Defines the elements of calls and streams.

import { HmCall } from "./call.js";
import { HmStream } from "./stream.js";

export { HmCall, HmStream };
export { useClient } from "./client.js";

customElements.define("hm-call", HmCall);
customElements.define("hm-stream", HmStream);
