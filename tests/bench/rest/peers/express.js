// The peer of Node: Express and a pool of pg. `node express.js DATABASE PORT`, DATABASE as JSON.
// There is no authentication, no rate limit and no log of requests.
const express = require('express');
const { Pool } = require('pg');

const POOL_SIZE = 10;
const pool = new Pool({ ...JSON.parse(process.argv[2]), max: POOL_SIZE });
const WALLET = {
  name: 'wallet', // prepared once for each connection
  text: 'SELECT balance, lifetime_spent, lifetime_earned FROM peers.wallets WHERE user_id = $1',
};

const app = express();
app.use(express.json());

app.get('/wallet/:userId', async (request, response) => {
  const found = await pool.query({ ...WALLET, values: [request.params.userId] });
  response.json(found.rows[0]);
});

async function tip(client, fanId, creatorId, tokens, key) {
  await client.query('BEGIN');
  const found = await client.query({
    name: 'lock', text: 'SELECT balance FROM peers.wallets WHERE user_id = $1 FOR UPDATE', values: [fanId],
  });
  const balance = Number(found.rows[0].balance);
  if (balance < tokens) throw new Error('INSUFFICIENT_FUNDS');
  await client.query({
    name: 'tip', text: 'INSERT INTO peers.tips (key, fan_id, creator_id, tokens) VALUES ($1, $2, $3, $4)',
    values: [fanId + key, fanId, creatorId, tokens],
  });
  await client.query({
    name: 'spend',
    text: 'UPDATE peers.wallets SET balance = balance - $2, lifetime_spent = lifetime_spent + $2 WHERE user_id = $1',
    values: [fanId, tokens],
  });
  await client.query({
    name: 'earn',
    text: 'UPDATE peers.wallets SET balance = balance + $2, lifetime_earned = lifetime_earned + $2 WHERE user_id = $1',
    values: [creatorId, tokens],
  });
  await client.query('COMMIT');
  return balance - tokens;
}

app.post('/tips/:userId', async (request, response) => {
  const { toCreatorId, amountTokens } = request.body;
  const client = await pool.connect();
  try {
    const balance = await tip(client, request.params.userId, toCreatorId, amountTokens, request.get('Idempotency-Key'));
    response.status(201).json({ balance });
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    response.status(402).json({ error: error.message });
  } finally {
    client.release();
  }
});

app.listen(Number(process.argv[3]), '127.0.0.1');
