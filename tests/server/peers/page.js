// A websocket of the browser's own, in a page: carries out `orders` and passes its events to the test's `report`.
let socket;

const orders = {
  dial: ({ url, protocols }) => {
    socket = new WebSocket(url, protocols);
    socket.onopen = () => report({ event: 'open', protocol: socket.protocol, extensions: socket.extensions });
    socket.onmessage = ({ data }) => report({ event: 'message', message: JSON.parse(data) });
    socket.onclose = ({ code, wasClean }) => report({ event: 'close', code, wasClean });
  },
  send: (message) => socket.send(JSON.stringify(message)),
  text: (text) => socket.send(text),
  close: (code) => socket.close(code),
};
