// Viewers of several streams behind an unsteady proxy: what the application of each saw, and what became of its tips.

const END = "the end"; // the line of each owner after which a viewer is done
const TIP_MS = 3000; // between two tips of a viewer, on average

/** Resolves to the records of all viewers once each has seen the end of each room and knows what became of its tips. */
export async function watch({ Halfminute, webSocket, url, websocketUrl, tokens, channels }) {
  const viewers = tokens.map((token) => makeViewer({ Halfminute, webSocket, url, websocketUrl, token }));
  const seen = await Promise.all(viewers.map((viewer) => live(viewer, channels)));
  for (const { hm } of viewers) hm.close();
  return seen;
}

function makeViewer({ Halfminute, webSocket, url, websocketUrl, token }) {
  const hm = new Halfminute({ url, websocketUrl, getToken: () => token, webSocket });
  const errors = [];
  hm.on("error", (error) => errors.push(`${error.code}: ${error.message}`));
  return { hm, errors };
}

async function live({ hm, errors }, channels) {
  await hm.connect();
  const rooms = await Promise.all(channels.map((channel) => hm.join(channel)));
  const tips = [];
  const timer = setInterval(() => {
    const room = rooms[Math.floor(Math.random() * rooms.length)];
    if (Math.random() < 0.5) tips.push(room.tip({ amountTokens: 1 }).then(() => "booked", (error) => error.code));
  }, TIP_MS / 2);
  const records = await Promise.all(rooms.map((room) => recorded(room)));
  clearInterval(timer);
  return { userId: hm.userId, errors, records, tips: await Promise.all(tips) };
}

/** Resolves to the events of a room, in the order in which the application sees them, up to the end. */
function recorded(room) {
  const { epoch, seq } = room;
  const records = [{ type: "room:joined", epoch, seq }];
  return new Promise((resolve) => {
    room.on("*", ({ type, epoch: newEpoch, seq: number, text, history, reason }) => {
      records.push({ type, epoch: newEpoch, seq: number, reason });
      const isEnd = text === END || history?.some((event) => event.text === END);
      if (isEnd) resolve(records);
      if (type === "closed") resolve([...records, { type: "closed too early" }]);
    });
  });
}
