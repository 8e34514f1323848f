// One room in Node: `ws` sending to each of its clients, or Socket.IO 4 emitting to a room.
//
// fanout.js ws|socketio PORT. "EVENTS ...\n" on standard input: send so many; answered by when it began.
const http = require('http');
const readline = require('readline');

const [kind, port] = [process.argv[2], Number(process.argv[3])];
const BACKLOG = 4096;
const EVENT_BYTES = 200;
const NO_PING_MS = 600_000;
let seq = 1_000_000; // always seven digits

function nextEvent() {
  const event = {
    type: 'bench:said', channel: '0123456789abcdef0123456789abcdef', seq: ++seq, at: '2026-01-01T00:00:00.000000Z', text: '',
  };
  event.text = 'x'.repeat(EVENT_BYTES - nextEvent.bare);
  return event;
}
nextEvent.bare = 0;
nextEvent.bare = JSON.stringify(nextEvent()).length - EVENT_BYTES;

function openWs(server) {
  const { WebSocketServer } = require('ws');
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => socket.on('message', () => {}));
  return () => {
    const message = JSON.stringify(nextEvent());
    for (const socket of sockets.clients) socket.send(message);
  };
}

function openSocketIo(server) {
  const { Server } = require('socket.io');
  const io = new Server(server, { transports: ['websocket'], pingInterval: NO_PING_MS, serveClient: false });
  io.on('connection', (socket) => socket.join('room'));
  return () => io.to('room').emit('event', nextEvent());
}

function sendAll(broadcast, events) {
  console.log(`BEGAN ${(Number(process.hrtime.bigint()) / 1e9).toFixed(9)}`);
  const next = () => {
    if (events-- <= 0) return;
    broadcast();
    setImmediate(next);
  };
  next();
}

const server = http.createServer();
const broadcast = kind === 'ws' ? openWs(server) : openSocketIo(server);
const orders = readline.createInterface({ input: process.stdin });
orders.on('line', (line) => sendAll(broadcast, parseInt(line, 10)));
orders.on('close', () => process.exit(0));
server.listen({ port, host: '127.0.0.1', backlog: BACKLOG }, () => console.log('LISTENING'));
