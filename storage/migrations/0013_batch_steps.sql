-- The batch statement as named steps, with a comment on each guard. Signature, results and cost are those of
-- 0007_parts.sql, whose definition this one replaces.

-- Decides a batch of postings in their order, commits those that pass every guard, and returns one row of arrays.
-- tests/model/ledger.py is a plain model of it.
--
-- Parameters:
--   w                    the wallets of the batch, each once, in the order of their ids
--   key, debit, credit, room, epoch, block_no, tokens
--                        one element per posting. `debit` and `credit` are positions in `w`. `room` is NULL, `epoch`
--                        and `block_no` are 0, where there is none. Epoch 0 in a room stands for any owner, except in a
--                        block. A refund names its room, and the state of that room is not checked
--   kind, ref, content   one element per posting; `kind` is empty if all are blocks, the others if no posting has one
--   memo_of, memo        the positions of postings with a memo, and the memos
--   careful              take the careful path: the batch may have been committed before, or has several blocks of a meter
--   operator             the operator who ordered the posting, stored with it; empty if no posting has one
--   debit_parts, credit_parts
--                        parts that the caller has decided, two elements per posting: promotional and earned tokens.
--                        Empty for what clients send: these parts follow from the wallets
-- Results:
--   status               the posting's outcome, see domain.billing.posting.Outcome
--   debit_after, credit_after, debit_n, credit_n
--                        balances and posting numbers of both wallets after the posting
--   first_ref            for a key that was used before: the ref of the posting under it
--   day_limit, day_spent for a payer beyond their daily limit: the limit, and what they have spent today.
--                        The fast path returns NULL for these three arrays
--   more_*               postings that the statement added, each directly after its cause: the release of a ticket that
--                        is sold after its stream's tickets were released, and the repayment of a debt from its
--                        debtor's earnings. Their outcomes follow those of the postings that were sent
--
-- The fast path assumes that keys, epochs and block numbers are right, since they nearly always are. It checks funds
-- before it writes, and the others while it writes: a unique violation (23505) or HM005 rolls the batch back, and the
-- caller sends it again with `careful`. The careful path looks up everything first.
--
-- Raises HM001, HM002, HM003 (unknown room, wallet, meter), HM004 (balance out of range), HM005 and 23505 (send again
-- with `careful`), HM008 (clock), 40001 (a wallet was written without the write lock).
CREATE OR REPLACE FUNCTION apply_postings(
    w uuid[], key uuid[], kind smallint[], debit int[], credit int[], room uuid[], epoch int[], block_no int[],
    tokens bigint[], ref uuid[], content uuid[], memo_of int[], memo text[], careful boolean,
    operator uuid[] DEFAULT '{}', debit_parts int[] DEFAULT '{}', credit_parts int[] DEFAULT '{}',
    OUT status smallint[], OUT debit_after bigint[], OUT credit_after bigint[], OUT debit_n int[], OUT credit_n int[],
    OUT first_ref uuid[], OUT day_limit bigint[], OUT day_spent bigint[],
    OUT more_key uuid[], OUT more_kind smallint[], OUT more_debit uuid[], OUT more_credit uuid[], OUT more_room uuid[],
    OUT more_tokens bigint[], OUT more_ref uuid[], OUT more_content uuid[]
) LANGUAGE plpgsql VOLATILE
    SET search_path = halfminute, pg_temp
    -- The planner assumes 1,000 rows for an array, and would scan and hash all wallets. The actor's connection keeps a
    -- plan that was made while tables were small.
    SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off SET jit = off
AS $fn$
#variable_conflict use_variable
DECLARE
    -- domain.billing.posting.Kind
    block CONSTANT smallint := 1;  tip CONSTANT smallint := 2;  ticket CONSTANT smallint := 3;
    purchase CONSTANT smallint := 4;  gift CONSTANT smallint := 5;  refund CONSTANT smallint := 6;
    payout CONSTANT smallint := 7;  release CONSTANT smallint := 8;  repayment CONSTANT smallint := 9;
    last_spending CONSTANT smallint := ticket;           -- blocks, tips and tickets are spending: kind <= last_spending
    -- domain.billing.posting.Outcome
    committed CONSTANT smallint := 0;  already CONSTANT smallint := 1;  insufficient CONSTANT smallint := 2;
    fenced CONSTANT smallint := 3;  closed CONSTANT smallint := 4;  conflict CONSTANT smallint := 5;
    gap CONSTANT smallint := 6;  owned CONSTANT smallint := 9;  beyond_limit CONSTANT smallint := 10;
    -- Other constants.
    ended CONSTANT int := -1;                            -- in `room_epoch`: the room has ended
    payouts CONSTANT uuid := '00000000-0000-7000-8000-000000000003';
    losses CONSTANT uuid := '00000000-0000-7000-8000-000000000004';
    max_balance CONSTANT bigint := 9007199254740991;  min_balance CONSTANT bigint := -9007199254740991;
    max_clock_error CONSTANT interval := '5 seconds';
    now_at    timestamptz;                               -- the date of all postings of the batch
    today     date;
    -- One element per wallet. The first three lines hold what was read, the others what the batch makes of it.
    wallets_in_batch int := cardinality(w);
    w_id      uuid[];    w_tid tid[];  w_is_user boolean[];  w_limit bigint[];  w_spent bigint[];
    w_balance bigint[];  w_n int[];  w_promotional bigint[];  w_earned bigint[];  w_owed bigint[];
    balance   bigint[];  n int[];  promotional bigint[];  earned bigint[];  owed bigint[];
    spent     bigint[];                                  -- today, as counted by spend_limits
    lifetime_spent bigint[];  lifetime_earned bigint[];  -- what the lifetime sums change by
    any_limited boolean;                                 -- whether some wallet has a daily limit, or is frozen
    any_debtor boolean;
    added_wallets uuid[];                                -- wallets that only added postings move
    -- One element per posting.
    sent      int := cardinality(key);                   -- number of postings that were sent
    decided   int;                                       -- number of postings, with those that were added
    room_epoch int[];                                    -- the epoch of the posting's room, or `ended`
    meter     int[];                                     -- position in m_tid of the posting's meter; 0: no block
    key_used  boolean[];  same_content boolean[];        -- whether the key was used before, and for the same
    old_debit_after bigint[];  old_credit_after bigint[];  old_debit_n int[];  old_credit_n int[];  old_ref uuid[];
    first_use int[];                                     -- the first posting of the batch with the same key
    committed_as int[];                                  -- of such a first posting: which posting was committed
    first_ticket int[];                                  -- the first posting of the batch for the same ticket
    has_ticket boolean[];                                -- of such a first posting: whether the payer has the ticket
    release_to int[];                                    -- the creator's wallet, if the ticket is released as it is sold
    debit_promotional int[];  debit_earned int[];  credit_promotional int[];  credit_earned int[];
    cause     int[];                                     -- one per added posting: the posting that it follows from
    refused_for_funds int[];
    -- One element per meter.
    m_tid     tid[];  m_last int[];  last_block int[];  m_tokens bigint[];
    -- The posting that is being decided.
    i int;  next_sent int;  next_added int;
    posting_kind smallint;  payer int;  payee int;  amount bigint;
    earlier int;  i_meter int;  nth_of_meter int;  payer_after bigint;  payee_after bigint;
    out_promotional int;  out_earned int;                -- of its tokens: which parts leave the payer
    in_promotional int;  in_earned int;                  -- and which parts the payee gets
    added_payer int;  added_payee int;  added_amount bigint;
    -- Counted to check the writes.
    number_committed int;  blocks int;  rows_written int;  misplaced int;
BEGIN
    -- Guard, write lock: serialises all writers of wallets, on all servers, until the transaction ends. The locked row is
    -- the one row of `fence`; it also holds the date of the latest posting.
    -- Guard, clock: no posting is dated before an earlier one.
    <<take_write_lock>>
    BEGIN
        UPDATE fence SET booked_at = greatest(booked_at, clock_timestamp()) WHERE one RETURNING booked_at INTO now_at;
        IF now_at > clock_timestamp() + max_clock_error THEN
            RAISE EXCEPTION 'the clock of the database is behind its latest booking' USING ERRCODE = 'HM008';
        END IF;
        PERFORM set_config('halfminute.booking', 'on', true);    -- the tables' triggers refuse other writers
    END take_write_lock;

    <<read_wallets>>
    BEGIN
        SELECT array_agg(s.id), array_agg(s.ctid), array_agg(s.balance), array_agg(s.n), array_agg(s.user_id IS NOT NULL),
               array_agg(s.promotional), array_agg(s.earned), array_agg(s.owed), bool_or(s.limited), bool_or(s.owed > 0)
          INTO w_id, w_tid, w_balance, w_n, w_is_user, w_promotional, w_earned, w_owed, any_limited, any_debtor
          FROM (SELECT x.ctid, x.* FROM wallets x WHERE x.id = ANY (w) ORDER BY x.id) s;
        IF w_id IS DISTINCT FROM w THEN
            RAISE EXCEPTION 'unknown wallet' USING ERRCODE = 'HM002';
        END IF;
    END read_wallets;

    -- Take the careful path for tickets, debtors, refunds without given parts, keys that clients used for something that is
    -- not a posting, and payers with a daily limit.
    <<choose_path>>
    BEGIN
        careful := careful OR any_debtor OR ticket = ANY (kind) OR refund = ANY (kind) AND cardinality(credit_parts) = 0;
        IF NOT careful AND cardinality(kind) > 0 THEN
            careful := EXISTS (SELECT FROM idempotency_keys o WHERE o.key = ANY (key));
        END IF;
        IF any_limited AND NOT careful THEN
            careful := EXISTS (SELECT FROM generate_series(1, sent) p WHERE coalesce(kind[p], block) <= last_spending
                                  AND (SELECT true FROM spend_limits l WHERE l.user_id = w[debit[p]]));
        END IF;
    END choose_path;

    -- At most two rounds: the fast path first, then the careful one if a refusal for funds may have another reason.
    <<rounds>>
    LOOP
        IF careful THEN
            IF cardinality(kind) = 0 THEN
                kind := array_fill(block, ARRAY[sent]);
            END IF;

            -- For the guard of epochs: the epoch of each posting's room. A refund or a later kind is not held to it.
            <<read_rooms>>
            BEGIN
                SELECT array_agg(CASE WHEN room[p] IS NULL OR kind[p] >= refund THEN epoch[p]
                                      WHEN s.ended_at IS NULL THEN s.epoch ELSE ended END ORDER BY p)
                  INTO room_epoch FROM generate_series(1, sent) p LEFT JOIN rooms s ON s.id = room[p]
                 WHERE s.id IS NOT NULL OR room[p] IS NULL;
                IF coalesce(cardinality(room_epoch), 0) <> sent THEN
                    RAISE EXCEPTION 'unknown room' USING ERRCODE = 'HM001';
                END IF;
            END read_rooms;

            -- For the guard of block numbers: the last block of each meter.
            <<read_meters>>
            BEGIN
                meter := array_fill(0, ARRAY[sent]);  m_tid := '{}';  m_last := '{}';
                FOR i, i_meter, nth_of_meter IN
                    SELECT p, dense_rank() OVER (ORDER BY room[p], debit[p]),
                           row_number() OVER (PARTITION BY room[p], debit[p])
                      FROM generate_series(1, sent) p WHERE block_no[p] > 0 ORDER BY 2, 1
                LOOP
                    meter[i] := i_meter;
                    IF nth_of_meter = 1 THEN
                        SELECT m_tid || s.ctid, m_last || s.last_block INTO m_tid, m_last
                          FROM meters s WHERE s.room_id = room[i] AND s.payer_id = w[debit[i]];
                        IF NOT FOUND THEN
                            RAISE EXCEPTION 'unknown meter' USING ERRCODE = 'HM003';
                        END IF;
                    END IF;
                END LOOP;
            END read_meters;

            -- For the guard of idempotency: whether each key was used before, and whether for the same content.
            <<read_keys>>
            BEGIN
                SELECT array_agg(j.key IS NOT NULL OR o.key IS NOT NULL ORDER BY u.p), array_agg(u.first_use ORDER BY u.p),
                       array_agg(j.debit_after ORDER BY u.p), array_agg(j.credit_after ORDER BY u.p),
                       array_agg(j.debit_n ORDER BY u.p), array_agg(j.credit_n ORDER BY u.p),
                       array_agg(j.ref_id ORDER BY u.p),
                       array_agg(j.kind = kind[u.p] AND j.tokens = tokens[u.p]
                                 AND j.debit_wallet = w[debit[u.p]] AND j.credit_wallet = w[credit[u.p]]
                                 AND j.room_id IS NOT DISTINCT FROM room[u.p]
                                 AND j.block_no IS NOT DISTINCT FROM nullif(block_no[u.p], 0)
                                 AND j.content IS NOT DISTINCT FROM content[u.p] ORDER BY u.p)
                  INTO key_used, first_use, old_debit_after, old_credit_after, old_debit_n, old_credit_n, old_ref,
                       same_content
                  FROM (SELECT q.key, q.p, min(q.p) OVER (PARTITION BY q.key) AS first_use
                          FROM unnest(key) WITH ORDINALITY q(key, p)) u
                  LEFT JOIN journal j ON j.key = u.key LEFT JOIN idempotency_keys o ON o.key = u.key;
            END read_keys;

            -- For the guard of tickets: who has which. Also the wallets that added postings will move.
            <<read_tickets>>
            BEGIN
                release_to := array_fill(NULL::int, ARRAY[sent]);  added_wallets := '{}';
                IF ticket = ANY (kind) THEN
                    SELECT array_agg(u.first ORDER BY u.p),
                           array_agg((SELECT true FROM stream_tickets s WHERE s.stream_id = room[u.p]
                                         AND s.user_id = w[debit[u.p]] AND s.refunded_at IS NULL) ORDER BY u.p)
                      INTO first_ticket, has_ticket
                      FROM (SELECT p, min(p) OVER (PARTITION BY kind[p] = ticket, room[p], debit[p]) AS first
                              FROM generate_series(1, sent) p) u;
                    added_wallets := ARRAY(SELECT DISTINCT s.creator_id FROM generate_series(1, sent) p JOIN streams s
                                               ON s.id = room[p] AND s.released_at IS NOT NULL
                                            WHERE kind[p] = ticket AND s.creator_id <> ALL (w));
                END IF;
                IF (any_debtor OR EXISTS (SELECT FROM wallets s WHERE s.id = ANY (added_wallets) AND s.owed > 0))
                   AND losses <> ALL (w) THEN
                    added_wallets := added_wallets || losses;
                END IF;
                IF cardinality(added_wallets) > 0 THEN
                    SELECT w || array_agg(s.id), w_tid || array_agg(s.ctid), w_balance || array_agg(s.balance),
                           w_n || array_agg(s.n), w_is_user || array_agg(s.user_id IS NOT NULL),
                           w_promotional || array_agg(s.promotional), w_earned || array_agg(s.earned),
                           w_owed || array_agg(s.owed)
                      INTO w, w_tid, w_balance, w_n, w_is_user, w_promotional, w_earned, w_owed
                      FROM wallets s WHERE s.id = ANY (added_wallets);
                    wallets_in_batch := cardinality(w);
                END IF;
                IF ticket = ANY (kind) THEN
                    SELECT array_agg(CASE WHEN kind[p] = ticket THEN (
                                              SELECT array_position(w, s.creator_id) FROM streams s
                                               WHERE s.id = room[p] AND s.released_at IS NOT NULL) END ORDER BY p)
                      INTO release_to FROM generate_series(1, sent) p;
                END IF;
            END read_tickets;

            -- For the guard of limits and freezes: each payer's limit in force, and what they have spent today. A frozen
            -- wallet has the limit -1.
            <<read_limits>>
            BEGIN
                IF any_limited THEN
                    today := (now_at AT TIME ZONE 'UTC')::date;
                    SELECT array_agg(CASE WHEN l.next_at <= now_at THEN l.next_tokens ELSE l.daily_tokens END ORDER BY u.p),
                           array_agg(CASE WHEN l.day = today THEN l.spent WHEN l.day < today THEN 0 END ORDER BY u.p)
                      INTO w_limit, w_spent
                      FROM unnest(w) WITH ORDINALITY u(id, p) LEFT JOIN spend_limits l ON l.user_id = u.id;
                END IF;
                first_ref := array_fill(NULL::uuid, ARRAY[sent]);
                day_limit := array_fill(NULL::bigint, ARRAY[sent]);  day_spent := day_limit;
            END read_limits;
        END IF;

        <<reset_results>>
        BEGIN
            balance := w_balance;  n := w_n;  promotional := w_promotional;  earned := w_earned;  owed := w_owed;
            spent := w_spent;  last_block := m_last;
            m_tokens := array_fill(0::bigint, ARRAY[coalesce(cardinality(m_tid), 0)]);
            committed_as := array_fill(0, ARRAY[sent]);
            lifetime_earned := array_fill(0::bigint, ARRAY[wallets_in_batch]);  lifetime_spent := lifetime_earned;
            status := array_fill(committed, ARRAY[sent]);
            debit_after := array_fill(NULL::bigint, ARRAY[sent]);  credit_after := debit_after;
            debit_n := array_fill(NULL::int, ARRAY[sent]);  credit_n := debit_n;
            debit_promotional := debit_n;  debit_earned := debit_n;
            credit_promotional := debit_n;  credit_earned := debit_n;
            cause := '{}';  refused_for_funds := '{}';  number_committed := 0;
            decided := sent;  next_sent := 1;  next_added := sent + 1;
        END reset_results;

        -- Decide one posting after the other, in memory; each sees the effects of those before it. The first guard that a
        -- posting does not pass decides its outcome.
        <<decide>>
        LOOP
            IF next_added <= decided THEN                -- an added posting comes directly after its cause
                i := next_added;  next_added := next_added + 1;
            ELSIF next_sent <= sent THEN
                i := next_sent;  next_sent := next_sent + 1;
            ELSE
                EXIT;
            END IF;
            payer := debit[i];  payee := credit[i];  amount := tokens[i];  posting_kind := coalesce(kind[i], block);

            IF careful AND i <= sent THEN
                -- Guard, idempotency: the key was used by an earlier batch. It comes before all other guards, so that a
                -- repeat gets the first result even if the posting would be refused now.
                IF key_used[i] THEN
                    IF same_content[i] THEN
                        status[i] := already;
                        debit_after[i] := old_debit_after[i];  credit_after[i] := old_credit_after[i];
                        debit_n[i] := old_debit_n[i];  credit_n[i] := old_credit_n[i];  first_ref[i] := old_ref[i];
                    ELSE
                        status[i] := conflict;
                    END IF;
                    CONTINUE;
                END IF;
                -- Guard, idempotency: the key was used by an earlier posting of this batch.
                earlier := committed_as[first_use[i]];
                IF earlier > 0 THEN
                    IF kind[earlier] = posting_kind AND tokens[earlier] = amount
                       AND debit[earlier] = payer AND credit[earlier] = payee
                       AND room[earlier] IS NOT DISTINCT FROM room[i] AND block_no[earlier] = block_no[i]
                       AND content[earlier] IS NOT DISTINCT FROM content[i] THEN
                        status[i] := already;
                        debit_after[i] := debit_after[earlier];  credit_after[i] := credit_after[earlier];
                        debit_n[i] := debit_n[earlier];  credit_n[i] := credit_n[earlier];  first_ref[i] := ref[earlier];
                    ELSE
                        status[i] := conflict;
                    END IF;
                    CONTINUE;
                END IF;
                -- Guard, epoch fencing: the room has ended, or has a later owner. Epoch 0 passes for any owner, unless the
                -- posting is a block.
                IF room_epoch[i] <> epoch[i] AND (epoch[i] > 0 OR block_no[i] > 0 OR room_epoch[i] = ended) THEN
                    status[i] := CASE WHEN room_epoch[i] = ended THEN closed ELSE fenced END;
                    CONTINUE;
                END IF;
                -- Guard, order of blocks: block n follows block n - 1 of its meter.
                i_meter := meter[i];
                IF i_meter > 0 AND last_block[i_meter] <> block_no[i] - 1 THEN
                    status[i] := gap;
                    CONTINUE;
                END IF;
                -- Guard, tickets: a user has one ticket to a stream.
                IF posting_kind = ticket AND has_ticket[first_ticket[i]] THEN
                    status[i] := owned;
                    CONTINUE;
                END IF;
                -- Guard, limits and freezes: the payer's own daily limit; nothing passes the limit -1 of a frozen wallet.
                IF posting_kind <= last_spending AND amount > 0 AND spent[payer] + amount > w_limit[payer] THEN
                    status[i] := beyond_limit;  day_limit[i] := w_limit[payer];  day_spent[i] := spent[payer];
                    CONTINUE;
                END IF;
            END IF;
            -- Guard, funds: a user's balance never becomes negative, and a payout takes earned tokens only.
            payer_after := balance[payer] - amount;
            IF w_is_user[payer] AND (payer_after < 0 OR posting_kind = payout AND earned[payer] < amount) THEN
                status[i] := insufficient;  debit_after[i] := balance[payer];  debit_n[i] := n[payer];
                refused_for_funds := refused_for_funds || i;
                CONTINUE;
            END IF;
            -- Guard, range: balances stay exact in JSON.
            payee_after := balance[payee] + amount;
            IF payer_after < min_balance OR payee_after > max_balance THEN
                RAISE EXCEPTION 'balance out of range' USING ERRCODE = 'HM004';
            END IF;

            out_promotional := 0;  out_earned := 0;  in_promotional := 0;  in_earned := 0;
            -- The payer spends promotional tokens first and earned ones last. Payouts and repayments take earned ones only.
            <<take_parts>>
            BEGIN
                IF w_is_user[payer] THEN
                    IF i <= sent AND cardinality(debit_parts) > 0 THEN
                        out_promotional := debit_parts[2 * i - 1];  out_earned := debit_parts[2 * i];
                    ELSIF posting_kind = payout OR posting_kind = repayment THEN
                        out_earned := amount;
                    ELSE
                        out_promotional := least(promotional[payer], amount);
                        out_earned := greatest(0, earned[payer] - payer_after);
                    END IF;
                    IF out_promotional > 0 THEN
                        promotional[payer] := promotional[payer] - out_promotional;
                        debit_promotional[i] := out_promotional;
                    END IF;
                    IF out_earned > 0 THEN
                        earned[payer] := earned[payer] - out_earned;
                        debit_earned[i] := out_earned;
                    END IF;
                END IF;
            END take_parts;

            -- The payee gets promotional tokens as promotional, and the others of a payment as earned. What is neither
            -- counts as bought.
            <<give_parts>>
            BEGIN
                IF w_is_user[payee] THEN
                    IF i <= sent AND cardinality(credit_parts) > 0 THEN
                        in_promotional := credit_parts[2 * i - 1];  in_earned := credit_parts[2 * i];
                    ELSIF posting_kind <= last_spending THEN
                        in_promotional := out_promotional;  in_earned := amount - out_promotional;
                    ELSIF posting_kind = gift THEN
                        in_promotional := amount;
                    ELSIF posting_kind = release THEN
                        in_promotional := coalesce(debit_promotional[cause[i - sent]], 0);
                        in_earned := amount - in_promotional;
                    ELSIF posting_kind = refund THEN     -- of a payout: the parts that it took, less what was refunded already
                        SELECT coalesce(o.debit_promotional, 0) - coalesce(r.promotional, 0),
                               coalesce(o.debit_earned, 0) - coalesce(r.earned, 0) INTO in_promotional, in_earned
                          FROM journal o, LATERAL (
                               SELECT sum(b.credit_promotional) AS promotional, sum(b.credit_earned) AS earned
                                 FROM journal b
                                WHERE b.kind = refund AND b.credit_wallet = w[payee] AND b.content = o.key) r
                         WHERE o.key = content[i];
                        in_earned := greatest(0, least(coalesce(in_earned, 0), amount));
                        in_promotional := greatest(0, least(coalesce(in_promotional, 0), amount - in_earned));
                    END IF;
                    IF in_promotional > 0 THEN
                        promotional[payee] := promotional[payee] + in_promotional;
                        credit_promotional[i] := in_promotional;
                    END IF;
                    IF in_earned > 0 THEN
                        earned[payee] := earned[payee] + in_earned;
                        credit_earned[i] := in_earned;
                    END IF;
                END IF;
            END give_parts;

            <<move_tokens>>
            BEGIN
                balance[payer] := payer_after;  debit_after[i] := payer_after;
                n[payer] := n[payer] + 1;  debit_n[i] := n[payer];
                balance[payee] := payee_after;  credit_after[i] := payee_after;
                n[payee] := n[payee] + 1;  credit_n[i] := n[payee];
                number_committed := number_committed + 1;
            END move_tokens;

            -- Lifetime sums count payments and earnings, less refunds; credits, purchases and payouts do not count.
            <<count_lifetime>>
            BEGIN
                IF posting_kind <= last_spending THEN
                    lifetime_spent[payer] := lifetime_spent[payer] + amount;
                    lifetime_earned[payee] := lifetime_earned[payee] + amount;
                ELSIF posting_kind = release THEN
                    lifetime_earned[payee] := lifetime_earned[payee] + amount;
                ELSIF posting_kind = repayment THEN
                    lifetime_earned[payer] := lifetime_earned[payer] - amount;  owed[payer] := owed[payer] - amount;
                ELSIF posting_kind = refund THEN
                    lifetime_earned[payer] := lifetime_earned[payer] - amount;
                    IF w[payer] <> payouts THEN
                        lifetime_spent[payee] := lifetime_spent[payee] - amount;
                    END IF;
                END IF;
            END count_lifetime;
            CONTINUE WHEN NOT careful;

            -- Let the guards see this posting when they decide the later ones of the batch.
            <<count_for_guards>>
            BEGIN
                IF i <= sent THEN
                    committed_as[first_use[i]] := i;
                    i_meter := meter[i];
                    IF i_meter > 0 THEN
                        last_block[i_meter] := block_no[i];  m_tokens[i_meter] := m_tokens[i_meter] + amount;
                    END IF;
                    IF posting_kind = ticket THEN
                        has_ticket[first_ticket[i]] := true;
                    END IF;
                    IF posting_kind <= last_spending AND any_limited THEN
                        spent[payer] := spent[payer] + amount;
                    END IF;
                END IF;
            END count_for_guards;

            -- Add the posting that follows at once: the release of a ticket, or the repayment of the payee's debt.
            <<add_posting>>
            BEGIN
                added_payee := NULL;
                IF posting_kind = ticket AND release_to[i] IS NOT NULL AND NOT w_is_user[payee] THEN
                    added_payer := payee;  added_payee := release_to[i];  added_amount := amount;
                ELSIF in_earned > 0 AND owed[payee] > 0 THEN
                    added_payer := payee;  added_payee := array_position(w, losses);
                    added_amount := least(owed[payee], in_earned);
                END IF;
                IF added_payee IS NOT NULL THEN
                    decided := decided + 1;  cause := cause || i;
                    key[decided] := derived_key(CASE posting_kind WHEN ticket THEN 'release' ELSE 'repayment' END,
                                                ARRAY[key[i]]);
                    kind[decided] := CASE posting_kind WHEN ticket THEN release ELSE repayment END;
                    debit[decided] := added_payer;  credit[decided] := added_payee;  tokens[decided] := added_amount;
                    room[decided] := room[i];  ref[decided] := ref[i];  content[decided] := key[i];
                    epoch[decided] := 0;  block_no[decided] := 0;  status[decided] := committed;
                END IF;
            END add_posting;
        END LOOP decide;
        EXIT WHEN careful OR cardinality(refused_for_funds) = 0;

        -- On the fast path: if a guard that precedes funds may refuse one of these as well, decide again on the careful
        -- path. One scalar subquery per row, since no plan can turn that into a scan.
        <<check_refusals>>
        BEGIN
            careful := EXISTS (
                SELECT FROM unnest(refused_for_funds) p
                 WHERE (SELECT true FROM journal j WHERE j.key = key[p])
                    OR cardinality(array_positions(key, key[p])) > 1
                    OR room[p] IS NOT NULL AND (SELECT true FROM rooms s WHERE s.id = room[p] AND (kind[p] >= refund
                                                    OR s.ended_at IS NULL AND (s.epoch = epoch[p] OR epoch[p] = 0
                                                                               AND block_no[p] = 0))) IS NULL
                    OR block_no[p] > 0 AND (SELECT true FROM meters s WHERE s.room_id = room[p]
                                               AND s.payer_id = w[debit[p]] AND s.last_block = block_no[p] - 1) IS NULL);
        END check_refusals;
        EXIT WHEN NOT careful;
    END LOOP rounds;
    IF number_committed = 0 THEN
        PERFORM set_config('halfminute.booking', '', true);
        RETURN;
    END IF;

    -- Guard, idempotency, on the fast path: the primary key of the journal refuses a used key with 23505.
    <<write_journal>>
    BEGIN
        INSERT INTO journal (key, debit_wallet, credit_wallet, room_id, ref_id, content, tokens, debit_after, credit_after,
                             created_at, debit_n, credit_n, block_no, kind, debit_promotional, debit_earned,
                             credit_promotional, credit_earned)
        SELECT key[p], w[debit[p]], w[credit[p]], room[p], ref[p], content[p], tokens[p], debit_after[p], credit_after[p],
               now_at, debit_n[p], credit_n[p], nullif(block_no[p], 0), coalesce(kind[p], block),
               debit_promotional[p], debit_earned[p], credit_promotional[p], credit_earned[p]
          FROM generate_series(1, decided) p WHERE status[p] = committed;
        IF cardinality(memo_of) > 0 THEN
            INSERT INTO memos (posting_key, memo)
            SELECT key[memo_of[p]], memo[p] FROM generate_series(1, cardinality(memo_of)) p
             WHERE status[memo_of[p]] = committed;
        END IF;
        IF cardinality(operator) > 0 THEN
            INSERT INTO operator_actions (id, operator_id, action, target_id, ref_id, tokens, reason, posting_key,
                                          created_at)
            SELECT derived_key('operator action', ARRAY[key[p]]), operator[p],
                   CASE kind[p] WHEN gift THEN 'credit' ELSE 'refund' END,
                   CASE WHEN w_is_user[credit[p]] THEN w[credit[p]] ELSE w[debit[p]] END, ref[p],
                   CASE WHEN w_is_user[credit[p]] THEN tokens[p] ELSE -tokens[p] END,
                   coalesce(memo[array_position(memo_of, p)], ''), key[p], now_at
              FROM generate_series(1, sent) p WHERE operator[p] IS NOT NULL AND status[p] = committed;
        END IF;
    END write_journal;

    -- Guard, versions: each wallet still has the posting number that was read. It has not if it was written without the
    -- write lock.
    <<write_wallets>>
    BEGIN
        UPDATE wallets s
           SET balance = balance[p], n = n[p], promotional = promotional[p], earned = earned[p], owed = owed[p],
               lifetime_spent = s.lifetime_spent + CASE WHEN w_is_user[p] THEN lifetime_spent[p] ELSE 0 END,
               lifetime_earned = s.lifetime_earned + CASE WHEN w_is_user[p] THEN lifetime_earned[p] ELSE 0 END
          FROM generate_series(1, wallets_in_batch) p WHERE s.ctid = w_tid[p] AND s.n = w_n[p];
        GET DIAGNOSTICS rows_written = ROW_COUNT;
        IF rows_written <> wallets_in_batch THEN
            RAISE EXCEPTION 'a wallet moved' USING ERRCODE = '40001';
        END IF;
    END write_wallets;

    IF careful THEN
        <<write_tickets>>
        BEGIN
            IF ticket = ANY (kind) THEN
                INSERT INTO stream_tickets AS s (stream_id, user_id, ticket_id, posting_key, price_tokens, bought_at,
                                                 released_at)
                SELECT room[p], w[debit[p]], ref[p], key[p], tokens[p], now_at,
                       CASE WHEN w_is_user[credit[p]] THEN now_at END
                  FROM generate_series(1, sent) p WHERE kind[p] = ticket AND status[p] = committed
                    ON CONFLICT (stream_id, user_id) DO UPDATE
                   SET ticket_id = excluded.ticket_id, posting_key = excluded.posting_key, bought_at = excluded.bought_at,
                       price_tokens = excluded.price_tokens, released_at = excluded.released_at, release_key = NULL,
                       refunded_at = NULL;
            END IF;
            IF release = ANY (kind) THEN
                UPDATE stream_tickets s SET released_at = now_at, release_key = key[p]
                  FROM generate_series(1, decided) p
                 WHERE kind[p] = release AND status[p] = committed AND s.posting_key = content[p];
            END IF;
        END write_tickets;

        -- Each repayment goes to its debtor's oldest open debts first.
        <<write_debts>>
        BEGIN
            IF repayment = ANY (kind) THEN
                UPDATE debts s SET repaid = s.repaid + least(o.open, o.now - o.before)
                  FROM (SELECT q.advance_key, q.tokens - q.repaid AS open, r.now,
                               sum(q.tokens - q.repaid) OVER (PARTITION BY q.debtor ORDER BY q.created_at, q.advance_key)
                               - (q.tokens - q.repaid) AS before
                          FROM debts q
                          JOIN (SELECT w[debit[p]] AS debtor, sum(tokens[p]) AS now
                                  FROM generate_series(sent + 1, decided) p WHERE kind[p] = repayment GROUP BY 1) r
                            ON r.debtor = q.debtor
                         WHERE q.repaid < q.tokens) o
                 WHERE s.advance_key = o.advance_key AND o.before < o.now;
            END IF;
        END write_debts;

        <<write_limits_and_meters>>
        BEGIN
            UPDATE spend_limits s SET day = today, spent = spent[p]
              FROM generate_series(1, wallets_in_batch) p WHERE any_limited AND s.user_id = w[p];
            UPDATE meters s SET last_block = last_block[p], tokens = s.tokens + m_tokens[p]
              FROM generate_series(1, cardinality(m_tid)) p WHERE s.ctid = m_tid[p];
        END write_limits_and_meters;

        <<return_added>>
        BEGIN
            IF decided > sent THEN
                SELECT array_agg(key[p] ORDER BY p), array_agg(kind[p] ORDER BY p), array_agg(w[debit[p]] ORDER BY p),
                       array_agg(w[credit[p]] ORDER BY p), array_agg(room[p] ORDER BY p), array_agg(tokens[p] ORDER BY p),
                       array_agg(ref[p] ORDER BY p), array_agg(content[p] ORDER BY p)
                  INTO more_key, more_kind, more_debit, more_credit, more_room, more_tokens, more_ref, more_content
                  FROM generate_series(sent + 1, decided) p;
            END IF;
        END return_added;
    ELSE
        -- Guards, epoch fencing and order of blocks, on the fast path: each committed block updates its meter only under the
        -- room's latest epoch and after block n - 1. If a block did not, or another posting's room has ended or has a later
        -- owner, the batch is rolled back.
        <<write_meters_or_fail>>
        BEGIN
            UPDATE meters s SET last_block = block_no[p], tokens = s.tokens + tokens[p]
              FROM generate_series(1, sent) p, rooms o
             WHERE block_no[p] > 0 AND status[p] = committed
               AND o.id = room[p] AND o.epoch = epoch[p] AND o.ended_at IS NULL
               AND s.room_id = o.id AND s.payer_id = w[debit[p]] AND s.last_block = block_no[p] - 1;
            GET DIAGNOSTICS rows_written = ROW_COUNT;
            blocks := number_committed;  misplaced := 0;
            IF cardinality(kind) > 0 THEN
                SELECT count(*) FILTER (WHERE block_no[p] > 0),
                       count(*) FILTER (WHERE block_no[p] = 0 AND room[p] IS NOT NULL
                                          AND (SELECT true FROM rooms s WHERE s.id = room[p] AND (kind[p] >= refund
                                                    OR s.ended_at IS NULL AND epoch[p] IN (0, s.epoch))) IS NULL)
                  INTO blocks, misplaced FROM generate_series(1, sent) p WHERE status[p] = committed;
            END IF;
            IF rows_written <> blocks OR misplaced > 0 THEN
                RAISE EXCEPTION 'not to be booked as it is' USING ERRCODE = 'HM005';
            END IF;
        END write_meters_or_fail;
    END IF;
    PERFORM set_config('halfminute.booking', '', true);
END $fn$;
