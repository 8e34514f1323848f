// Defines the elements of calls and streams.

import { HmCall } from "./calls/call.js";
import { HmStream } from "./streams/stream.js";

export { HmCall, HmStream };
export { useClient } from "./base/client.js";

customElements.define("hm-call", HmCall);
customElements.define("hm-stream", HmStream);
