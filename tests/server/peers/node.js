// A websocket of npm's `ws` as a process: orders arrive on standard input and events leave on standard output, one JSON object a line.
//
// node.js '{"url": "ws://…", "protocols": […], "headers": {…}, "deflate": true}'
const readline = require('readline');
const { decode, encode } = require('@msgpack/msgpack');
const WebSocket = require('ws');

const { url, protocols, headers, deflate } = JSON.parse(process.argv[2]);
const socket = new WebSocket(url, protocols, { headers, perMessageDeflate: deflate });

function report(event) {
  process.stdout.write(JSON.stringify(event) + '\n');
}

const inMsgpack = () => socket.protocol === 'halfminute.v1.msgpack';

const orders = {
  send: (message) => socket.send(inMsgpack() ? encode(message) : JSON.stringify(message)),
  text: (text) => socket.send(text),
  bytes: (bytes) => socket.send(Buffer.from(bytes)),
  ping: (payload) => socket.ping(payload),
  close: (code) => socket.close(code),
  vanish: () => socket.terminate(),
};

socket.on('open', () => report({ event: 'open', protocol: socket.protocol, extensions: socket.extensions }));
socket.on('message', (data, binary) => {
  if (binary !== inMsgpack()) throw new Error('a frame of the other kind');
  report({ event: 'message', message: binary ? decode(data) : JSON.parse(data.toString()) });
});
socket.on('ping', () => report({ event: 'ping' }));
socket.on('pong', (payload) => report({ event: 'pong', payload: payload.toString() }));
socket.on('error', (error) => report({ event: 'error', message: error.message }));
socket.on('close', (code, reason) => report({ event: 'close', code, reason: reason.toString() }));

readline.createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { order, argument } = JSON.parse(line);
    orders[order](argument);
  })
  .on('close', () => process.exit(0));
