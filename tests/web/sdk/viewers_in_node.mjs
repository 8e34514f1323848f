// node viewers_in_node.mjs '{"sdk": …, "url": …, "websocketUrl": …, "tokens": […], "channels": […]}' prints the records.
import WebSocket from "ws";
import { watch } from "./viewers.mjs";

const { sdk, ...settings } = JSON.parse(process.argv[2]);
const { Halfminute } = await import(sdk);
process.stdout.write(JSON.stringify(await watch({ Halfminute, webSocket: WebSocket, ...settings })), () => process.exit(0));
