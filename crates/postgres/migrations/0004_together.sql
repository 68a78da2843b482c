-- What comes at the same time from one process goes to the database together: one statement and one
-- commit for many threads, each judged on its own. Such a statement waits for nobody's lock: what is
-- locked is answered with the verdict `locked`, unless the caller says that it is patient.

-- Locks the thread. False if somebody else has it and the caller is not patient. True as well if
-- there is no such thread.
create function lock_thread(p_thread uuid, p_patient boolean) returns boolean
language plpgsql as $$
begin
    if p_patient then
        perform from threads where id = p_thread for no key update;
        return true;
    end if;
    perform from threads where id = p_thread for no key update skip locked;
    return found or not exists (select from threads where id = p_thread);
end
$$;

-- Claims of several workers on several threads. A row for each: `held` (with the run), `busy`, `empty`,
-- `not_alive`, `locked`.
create or replace function claim_runs(
    p_threads uuid[], p_workers uuid[], p_claims uuid[], p_claimed text, p_set_time timestamptz
) returns table (
    verdict text, epoch bigint, claimed_at timestamptz, held json
) language plpgsql set lock_timeout = '2s' as $$
declare
    asked record;
    thread threads;
    run runs;
begin
    for asked in
        select * from unnest(p_threads, p_workers, p_claims) as a (thread, worker, claim)
    loop
        run := null;
        claimed_at := coalesce(p_set_time, clock_timestamp());
        if not lock_thread(asked.thread, false) then
            verdict := 'locked';
            return next;
            continue;
        end if;
        select * into thread from threads where id = asked.thread;
        claimed_at := coalesce(p_set_time, clock_timestamp());
        if thread.claim is not null then
            verdict := 'busy';
            if thread.claim = asked.claim and thread.worker_id = asked.worker then
                select * into run from runs where id = thread.held_run;
                verdict := 'held';
                claimed_at := thread.claimed_at;
            end if;
        elsif not is_alive(asked.worker, claimed_at) then
            verdict := 'not_alive';
        else
            run := claim_due(thread.id, asked.worker, claimed_at, p_claimed);
            verdict := case when run.id is null then 'empty' else 'held' end;
            if run.id is not null then
                update threads t
                set epoch = t.epoch + 1, claim = asked.claim, worker_id = asked.worker,
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

-- The run in flight on a thread, if it is the only one, is running, and was not asked to stop yet.
create function only_run_to_stop(p_thread uuid) returns uuid language sql stable as $$
    select (array_agg(id))[1] from runs
    where thread_id = p_thread and status in ('pending', 'running')
    having count(*) = 1 and bool_and(status = 'running' and cancel is null)
$$;

-- Accepts runs, each as `submit_run` does. One that stops what is before it (`p_stops` says how) is
-- accepted beside a single run that is running, which is then asked to stop; the answer says who
-- executes that, and under which claim. Verdicts as there, and `locked`.
create function submit_runs(
    p_threads uuid[], p_assumed_metadata text[], p_assumed_configs text[], p_alone boolean[],
    p_stops text[], p_stop_reasons text[], p_thread_metadata text[], p_thread_configs text[],
    p_temporary boolean[], p_busy text, p_runs uuid[], p_assistants uuid[], p_graphs text[],
    p_status text, p_metadata text[], p_kwargs text[], p_strategies text[], p_policies text[],
    p_set_time timestamptz, p_patient boolean
) returns table (
    verdict text, moment timestamptz, place bigint, accepted timestamptz, wakes boolean,
    known_metadata json, known_config json, stopped uuid, stopped_worker uuid, stopped_claim uuid
) language plpgsql set lock_timeout = '5s' as $$
declare
    asked record;
begin
    for asked in
        select * from unnest(
            p_threads, p_assumed_metadata, p_assumed_configs, p_alone, p_stops, p_stop_reasons,
            p_thread_metadata, p_thread_configs, p_temporary, p_runs, p_assistants, p_graphs,
            p_metadata, p_kwargs, p_strategies, p_policies
        ) as a (
            thread, assumed_metadata, assumed_config, alone, stop, stop_reason, thread_metadata,
            thread_config, temporary, run, assistant, graph, metadata, kwargs, strategy, policy
        )
    loop
        stopped := null;
        stopped_worker := null;
        stopped_claim := null;
        if not lock_thread(asked.thread, p_patient) then
            verdict := 'locked';
            return next;
            continue;
        end if;
        if asked.stop is not null then
            stopped := only_run_to_stop(asked.thread);
        end if;
        select * into verdict, moment, place, accepted, wakes, known_metadata, known_config
        from submit_run(
            asked.thread, asked.assumed_metadata, asked.assumed_config,
            asked.alone and stopped is null, asked.thread_metadata::json,
            asked.thread_config::json, asked.temporary, p_busy, asked.run, asked.assistant,
            asked.graph, p_status, asked.metadata::json, asked.kwargs::json, asked.strategy,
            asked.policy::json, p_set_time
        );
        if verdict = 'accepted' and stopped is not null then
            update runs
            set updated_at = moment, cancel = asked.stop, cancel_reason = asked.stop_reason,
                superseded_by = asked.run
            where id = stopped;
            select worker_id, claim into stopped_worker, stopped_claim
            from threads where id = asked.thread and held_run = stopped;
        end if;
        return next;
    end loop;
end
$$;

-- Ends runs, each as `settle_run` does, and adds what they leave beside their checkpoints. Verdicts as
-- there, and `locked`.
create function settle_runs(
    p_threads uuid[], p_runs uuid[], p_workers uuid[], p_epochs bigint[], p_claims uuid[],
    p_statuses text[], p_errors text[], p_outputs text[], p_interrupted_outputs text[],
    p_values text[], p_interrupts text[], p_unfinished boolean[], p_failed boolean[], p_busy text,
    p_at_rest text[], p_at_rest_unfinished text[], p_slots bigint[], p_next uuid[],
    p_residue_owners integer[], p_residue_ns text[], p_residue_checkpoints text[],
    p_residue_tasks text[], p_residue_positions integer[], p_residue_paths text[],
    p_residue_channels text[], p_residue_kinds text[], p_residue_data bytea[],
    p_claimed text, p_set_time timestamptz, p_patient boolean
) returns table (
    verdict text, moment timestamptz, wakes boolean, next_run json
) language plpgsql set lock_timeout = '5s' as $$
declare
    asked record;
    settled integer[] := '{}';
begin
    for asked in
        select * from unnest(
            p_threads, p_runs, p_workers, p_epochs, p_claims, p_statuses, p_errors, p_outputs,
            p_interrupted_outputs, p_values, p_interrupts, p_unfinished, p_failed, p_at_rest,
            p_at_rest_unfinished, p_slots, p_next
        ) with ordinality as a (
            thread, run, worker, epoch, claim, status, error, output, interrupted_output,
            thread_values, interrupts, unfinished, failed, at_rest, at_rest_unfinished, slot,
            next_claim, place
        )
    loop
        if not lock_thread(asked.thread, p_patient) then
            verdict := 'locked';
            return next;
            continue;
        end if;
        select * into verdict, moment, wakes, next_run from settle_run(
            asked.thread, asked.run, asked.worker, asked.epoch, asked.claim, asked.status,
            asked.error::json, asked.output::json, asked.interrupted_output::json,
            asked.thread_values::json, asked.interrupts::json, asked.unfinished, asked.failed,
            p_busy, asked.at_rest, asked.at_rest_unfinished, asked.slot,
            '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
            asked.next_claim, p_claimed, p_set_time
        );
        if verdict = 'settled' then
            settled := settled || asked.place::integer;
        end if;
        return next;
    end loop;
    insert into pending_writes (
        thread_id, ns, checkpoint_id, task_id, position, writer, run_id, task_path, channel, kind, data
    )
    select p_threads[w.owner], w.ns, w.checkpoint_id, w.task_id, w.position,
        case
            when w.position < 0 then p_runs[w.owner] else '00000000-0000-0000-0000-000000000000'
        end,
        p_runs[w.owner], w.task_path, w.channel, w.kind, w.data
    from unnest(
        p_residue_owners, p_residue_ns, p_residue_checkpoints, p_residue_tasks,
        p_residue_positions, p_residue_paths, p_residue_channels, p_residue_kinds, p_residue_data
    ) as w (owner, ns, checkpoint_id, task_id, position, task_path, channel, kind, data)
    where w.owner = any(settled)
    on conflict (thread_id, ns, checkpoint_id, task_id, position, writer) do update set
        run_id = excluded.run_id, task_path = excluded.task_path, channel = excluded.channel,
        kind = excluded.kind, data = excluded.data, written = default
    where pending_writes.position < 0;
end
$$;
