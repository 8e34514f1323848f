// A websocket of the browser's own, in a page: carries out `orders`, and tells what comes to `tell`, which is the test's.
let socket;

const orders = {
  dial: ({ url, protocols }) => {
    socket = new WebSocket(url, protocols);
    socket.onopen = () => tell({ event: 'open', protocol: socket.protocol, extensions: socket.extensions });
    socket.onmessage = ({ data }) => tell({ event: 'message', message: JSON.parse(data) });
    socket.onclose = ({ code, wasClean }) => tell({ event: 'close', code, wasClean });
  },
  say: (message) => socket.send(JSON.stringify(message)),
  text: (text) => socket.send(text),
  close: (code) => socket.close(code),
};
