// The older system's way: a transaction of seven statements for each block, from a pool of ten connections.
const { Pool } = require('pg');

const POOL_SIZE = 10;
const order = JSON.parse(process.argv[2]);
const pool = new Pool({
  host: order.host, port: order.port, user: order.user, database: order.database, max: POOL_SIZE,
  options: '-c search_path=legacy',
});

async function pay(client, callId, blockNo) {
  await client.query('BEGIN');
  const calls = await client.query(
    'SELECT id, fan_id, creator_id, status, rate FROM calls WHERE id = $1 FOR UPDATE', [callId]);
  const call = calls.rows[0];
  if (call.status !== 'active') throw new Error('the call has ended');
  const wallets = await client.query('SELECT balance FROM wallets WHERE user_id = $1 FOR UPDATE', [call.fan_id]);
  if (BigInt(wallets.rows[0].balance) < BigInt(call.rate)) throw new Error('too few tokens');
  await client.query(
    'UPDATE wallets SET balance = balance - $2, lifetime_spent = lifetime_spent + $2 WHERE user_id = $1',
    [call.fan_id, call.rate]);
  await client.query(
    'UPDATE wallets SET balance = balance + $2, lifetime_earned = lifetime_earned + $2 WHERE user_id = $1',
    [call.creator_id, call.rate]);
  await client.query(
    'INSERT INTO call_blocks (call_id, block_no, fan_id, creator_id, tokens) VALUES ($1, $2, $3, $4, $5)',
    [callId, blockNo, call.fan_id, call.creator_id, call.rate]);
  await client.query(
    'INSERT INTO ledger (user_id, kind, amount, call_id, block_no)' +
    ' VALUES ($1, 1, -$3::bigint, $4, $5), ($2, 2, $3::bigint, $4, $5)',
    [call.fan_id, call.creator_id, call.rate, callId, blockNo]);
  await client.query('COMMIT');
}

async function bill(callId, blockNo) {
  const client = await pool.connect();
  try {
    await pay(client, callId, blockNo);
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  } finally {
    client.release();
  }
}

const milliseconds = () => Number(process.hrtime.bigint()) / 1e6;

async function main() {
  const calls = (await pool.query('SELECT id FROM calls WHERE hot = $1 ORDER BY id', [order.hot])).rows;
  let next = order.start;
  const take = () => [calls[next % calls.length].id, order.first_block + Math.floor(next++ / calls.length)];
  await Promise.all(Array.from({ length: order.concurrency }, () => bill(...take()))); // connects, and warms up

  const took = [];
  const cpu = process.cpuUsage();
  const started = milliseconds();
  const deadline = started + order.seconds * 1000;
  async function work() {
    while (milliseconds() < deadline) {
      const began = milliseconds();
      await bill(...take());
      took.push(milliseconds() - began);
    }
  }
  await Promise.all(Array.from({ length: order.concurrency }, work));
  const seconds = (milliseconds() - started) / 1000;
  const used = process.cpuUsage(cpu);
  await pool.end();
  console.log(JSON.stringify({ took_ms: took, seconds, cpu_seconds: (used.user + used.system) / 1e6, next }));
}

main().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
