-- What happens most often, in one round trip each. These functions decide nothing: they lock, look
-- whether what the caller has assumed holds, and write what the caller has worked out for that case.
-- Where it does not hold they write nothing and say so.
--
-- All are volatile: under `read committed` each of their statements sees what was committed before
-- the lock was granted, which a single statement that waits for the lock would not. The moment is the
-- database's, read after the lock, unless a test sets the time.

-- Claims the run of a thread that is due, if one is. The thread is locked.
create function claim_due(
    p_thread uuid, p_worker uuid, p_now timestamptz, p_claimed text
) returns runs language plpgsql as $$
declare
    run runs;
begin
    select * into run from runs
    where thread_id = p_thread and status in ('pending', 'running') and status = 'pending'
        and created_at <= p_now
    order by created_at, seq limit 1;
    if not found or run.not_before > p_now then
        return null;
    end if;
    update runs
    set status = p_claimed, updated_at = p_now, attempt = attempt + 1, worker_id = p_worker
    where id = run.id
    returning * into run;
    return run;
end
$$;

-- Whether the worker's lease covers what it does now.
create function is_alive(p_worker uuid, p_now timestamptz) returns boolean
language plpgsql as $$
begin
    return exists (
        select 1 from workers where id = p_worker and not dead and lease_until > p_now
    );
end
$$;

-- Claims of several workers on several threads, each on its own. The threads come in the order of
-- their ids, so that nobody waits in a circle. A row for each: `held` (with the run), `busy`,
-- `empty`, `not_alive`.
create function claim_runs(
    p_threads uuid[], p_workers uuid[], p_claims uuid[], p_claimed text, p_set_time timestamptz
) returns table (
    verdict text, epoch bigint, claimed_at timestamptz, held json
) language plpgsql set lock_timeout = '2s' as $$
declare
    thread threads;
    run runs;
begin
    for place in 1 .. cardinality(p_threads) loop
        run := null;
        select * into thread from threads where id = p_threads[place] for no key update;
        claimed_at := coalesce(p_set_time, clock_timestamp());
        if thread.claim is not null then
            verdict := 'busy';
            if thread.claim = p_claims[place] and thread.worker_id = p_workers[place] then
                select * into run from runs where id = thread.held_run;
                verdict := 'held';
                claimed_at := thread.claimed_at;
            end if;
        elsif not is_alive(p_workers[place], claimed_at) then
            verdict := 'not_alive';
        else
            run := claim_due(thread.id, p_workers[place], claimed_at, p_claimed);
            verdict := case when run.id is null then 'empty' else 'held' end;
            if run.id is not null then
                update threads t
                set epoch = t.epoch + 1, claim = p_claims[place], worker_id = p_workers[place],
                    held_run = run.id, claimed_at = claim_runs.claimed_at
                where t.id = thread.id
                returning * into thread;
            end if;
        end if;
        epoch := thread.epoch;
        held := case when verdict = 'held' then to_json(run) end;
        return next;
    end loop;
end
$$;

-- Whether a run is pending or running on a thread, and whether the one to be claimed next is due.
create function outlook(p_thread uuid, p_now timestamptz, out in_flight boolean, out due boolean)
language plpgsql as $$
begin
    in_flight := exists (
        select 1 from runs where thread_id = p_thread and status in ('pending', 'running')
    );
    due := coalesce((
        select not_before <= p_now from runs
        where thread_id = p_thread and status in ('pending', 'running') and status = 'pending'
            and created_at <= p_now
        order by created_at, seq limit 1
    ), false);
end
$$;

-- Accepts a run that is due at once, on a thread that is as assumed: absent (null), or with this
-- metadata and configuration, letter by letter; if wanted, with nothing in flight. What is stored was
-- worked out for that case. Verdicts: `accepted`; `differs`, with what the thread has instead; `other`.
create function submit_run(
    p_thread uuid, p_assumed_metadata text, p_assumed_config text, p_alone boolean,
    p_thread_metadata json, p_thread_config json, p_temporary boolean, p_busy text,
    p_run uuid, p_assistant uuid, p_graph text, p_status text, p_metadata json, p_kwargs json,
    p_strategy text, p_policy json, p_set_time timestamptz,
    out verdict text, out moment timestamptz, out place bigint, out accepted timestamptz,
    out wakes boolean, out known_metadata json, out known_config json
) language plpgsql set lock_timeout = '5s' as $$
declare
    thread threads;
    is_there boolean;
begin
    select * into thread from threads where id = p_thread for no key update;
    is_there := found;
    moment := coalesce(p_set_time, clock_timestamp());
    verdict := 'other';
    if exists (select 1 from runs where id = p_run) then
        return;
    end if;
    if is_there then
        if p_alone and (outlook(p_thread, moment)).in_flight then
            return;
        end if;
        if thread.metadata::text is distinct from p_assumed_metadata
            or thread.config::text is distinct from p_assumed_config
        then
            verdict := 'differs';
            known_metadata := thread.metadata;
            known_config := thread.config;
            return;
        end if;
        place := thread.next_seq;
        accepted := greatest(thread.accepted_at, moment);
    else
        if p_assumed_metadata is not null then
            return;
        end if;
        place := 1;
        accepted := moment;
        insert into threads (
            id, created_at, updated_at, state_updated_at, metadata, config, status, temporary,
            hinted_at
        ) values (
            p_thread, moment, moment, moment, p_thread_metadata, p_thread_config, p_busy, p_temporary,
            moment
        ) on conflict do nothing;
        if not found then
            return;
        end if;
    end if;
    insert into runs (
        id, thread_id, assistant_id, graph_id, seq, created_at, updated_at, status, metadata, kwargs,
        multitask_strategy, policy, not_before
    ) values (
        p_run, p_thread, p_assistant, p_graph, place, accepted, moment, p_status, p_metadata, p_kwargs,
        p_strategy, p_policy, accepted
    );
    wakes := thread.claim is null and (outlook(p_thread, moment)).due;
    update threads
    set metadata = p_thread_metadata, config = p_thread_config, updated_at = moment, status = p_busy,
        at_rest_since = null, next_seq = place + 1, accepted_at = accepted,
        hinted_at = case when wakes then moment else hinted_at end
    where id = p_thread;
    verdict := 'accepted';
end
$$;

-- Ends a run that an attempt holds and that nobody wants rolled back, and claims the next one if that
-- is wanted, under the next epoch. The statuses of the thread are those with runs in flight, with none and nothing left to
-- do, with none and something left. Verdicts: `settled`, with the next run; `other`.
create function settle_run(
    p_thread uuid, p_run uuid, p_worker uuid, p_epoch bigint, p_claim uuid,
    p_status text, p_error json, p_output json, p_interrupted_output json,
    p_values json, p_interrupts json, p_unfinished boolean,
    p_failed boolean, p_busy text, p_at_rest text, p_at_rest_unfinished text, p_slot bigint,
    p_residue_ns text[], p_residue_checkpoints text[], p_residue_tasks text[],
    p_residue_positions integer[], p_residue_paths text[], p_residue_channels text[],
    p_residue_kinds text[], p_residue_data bytea[],
    p_next uuid, p_claimed text, p_set_time timestamptz,
    out verdict text, out moment timestamptz, out wakes boolean, out next_run json
) language plpgsql set lock_timeout = '5s' as $$
declare
    thread threads;
    ahead record;
    next runs;
begin
    verdict := 'other';
    select * into thread from threads
    where id = p_thread and epoch = p_epoch and claim = p_claim and held_run = p_run
    for no key update;
    if not found then
        return;
    end if;
    moment := coalesce(p_set_time, clock_timestamp());
    update runs
    set status = p_status, updated_at = moment, worker_id = null, error = p_error,
        output = p_output, interrupted_output = p_interrupted_output
    where id = p_run and status = 'running' and cancel is distinct from 'rollback';
    if not found then
        return;
    end if;
    insert into pending_writes (
        thread_id, ns, checkpoint_id, task_id, position, writer, run_id, task_path, channel, kind, data
    )
    select p_thread, w.ns, w.checkpoint_id, w.task_id, w.position,
        case when w.position < 0 then p_run else '00000000-0000-0000-0000-000000000000' end, p_run,
        w.task_path, w.channel, w.kind, w.data
    from unnest(
        p_residue_ns, p_residue_checkpoints, p_residue_tasks, p_residue_positions, p_residue_paths,
        p_residue_channels, p_residue_kinds, p_residue_data
    ) as w (ns, checkpoint_id, task_id, position, task_path, channel, kind, data)
    on conflict (thread_id, ns, checkpoint_id, task_id, position, writer) do update set
        run_id = excluded.run_id, task_path = excluded.task_path, channel = excluded.channel,
        kind = excluded.kind, data = excluded.data, written = default
    where pending_writes.position < 0;
    if p_values is not null then
        insert into thread_values as v (thread_id, "values", interrupts)
        values (p_thread, p_values, p_interrupts)
        on conflict (thread_id) do update set
            "values" = excluded."values", interrupts = excluded.interrupts;
    end if;
    insert into settlements (thread_id, slot, epoch, claim, run_id, status)
    values (p_thread, p_slot, p_epoch, p_claim, p_run, p_status)
    on conflict (thread_id, slot) do update set
        epoch = excluded.epoch, claim = excluded.claim, run_id = excluded.run_id,
        status = excluded.status;
    ahead := outlook(p_thread, moment);
    if p_next is not null and ahead.due and is_alive(p_worker, moment) then
        next := claim_due(p_thread, p_worker, moment, p_claimed);
        next_run := case when next.id is not null then to_json(next) end;
    end if;
    wakes := ahead.due and next.id is null;
    update threads
    set updated_at = moment, state_updated_at = moment, failed = p_failed, error = p_error,
        unfinished = coalesce(p_unfinished, unfinished),
        status = case
            when ahead.in_flight then p_busy
            when coalesce(p_unfinished, unfinished) then p_at_rest_unfinished
            else p_at_rest
        end,
        at_rest_since = case when not ahead.in_flight then coalesce(at_rest_since, moment) end,
        hinted_at = case when wakes then moment else hinted_at end,
        epoch = epoch + case when next.id is null then 0 else 1 end,
        claim = case when next.id is not null then p_next end,
        worker_id = case when next.id is not null then p_worker end,
        held_run = next.id,
        claimed_at = case when next.id is not null then moment end
    where id = p_thread;
    verdict := 'settled';
end
$$;
