-- What goes to the database together is also done together: each step for all threads at once, instead
-- of all steps for one thread after the other. What is decided, and answered, is the same.
--
-- Under `read committed` each statement of a function sees what was committed before it began. So the
-- first statement locks the threads, and what comes after it sees them as they are.
--
-- Postgres is told how to plan, see `put_on_shelf`. What is looked up row by row is written in a way
-- (`limit 1`) that it cannot turn around, into one pass over all that there is.

-- Locks those of the threads that are there. Who is not patient leaves out what is locked.
create function lock_threads(p_threads uuid[], p_patient boolean) returns uuid[]
language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    if p_patient then
        return array(
            select t.id from unnest(p_threads) as a (thread) join threads t on t.id = a.thread
            for no key update of t
        );
    end if;
    return array(
        select t.id from unnest(p_threads) as a (thread) join threads t on t.id = a.thread
        for no key update of t skip locked
    );
end
$$;

-- The run to be claimed next on a thread, if one waits, and whether it is due.
create function next_in_line(p_thread uuid, p_now timestamptz)
returns table (run_id uuid, due boolean) language sql stable as $$
    select id, not_before <= p_now from runs
    where thread_id = p_thread and status in ('pending', 'running') and status = 'pending'
        and created_at <= p_now
    order by created_at, seq limit 1
$$;

-- See 0004.
create or replace function claim_runs(
    p_threads uuid[], p_workers uuid[], p_claims uuid[], p_claimed text, p_set_time timestamptz
) returns table (
    verdict text, epoch bigint, claimed_at timestamptz, held json
) language plpgsql
set lock_timeout = '2s' set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    locked constant uuid[] := lock_threads(p_threads, false);
    moment constant timestamptz := coalesce(p_set_time, clock_timestamp());
begin
    return query
    with asked as materialized (
        select a.place, a.thread, a.worker, a.claim, t.epoch, t.claimed_at, t.held_run,
            case
                when t.id <> all(locked) then 'locked'
                when t.claim = a.claim and t.worker_id = a.worker then 'held'
                when t.claim is not null then 'busy'
                when w.id is null then 'not_alive'
            end as verdict
        from unnest(p_threads, p_workers, p_claims) with ordinality
            as a (thread, worker, claim, place)
        left join threads t on t.id = a.thread
        left join workers w on w.id = a.worker and not w.dead and w.lease_until > moment
    ),
    due as materialized (
        select asked.*, line.run_id
        from asked cross join lateral next_in_line(asked.thread, moment) line
        where asked.verdict is null and line.due
    ),
    claimed as (
        update runs r
        set status = p_claimed, updated_at = moment, attempt = r.attempt + 1, worker_id = due.worker
        from due where r.id = due.run_id
        returning r.*
    ),
    moved as (
        update threads t
        set epoch = t.epoch + 1, claim = due.claim, worker_id = due.worker, held_run = due.run_id,
            claimed_at = moment
        from due where t.id = due.thread
        returning t.id, t.epoch
    )
    select
        coalesce(asked.verdict, case when claimed.id is null then 'empty' else 'held' end),
        coalesce(moved.epoch, asked.epoch),
        case when asked.verdict = 'held' then asked.claimed_at else moment end,
        case
            when claimed.id is not null then to_json(claimed)
            when asked.verdict = 'held' then (
                select to_json(r) from runs r where r.id = asked.held_run
            )
        end
    from asked
    left join moved on moved.id = asked.thread
    left join claimed on claimed.thread_id = asked.thread
    order by asked.place;
end
$$;

-- See 0004 and 0003.
create or replace function submit_runs(
    p_threads uuid[], p_assumed_metadata text[], p_assumed_configs text[], p_alone boolean[],
    p_stops text[], p_stop_reasons text[], p_thread_metadata text[], p_thread_configs text[],
    p_temporary boolean[], p_busy text, p_runs uuid[], p_assistants uuid[], p_graphs text[],
    p_status text, p_metadata text[], p_kwargs text[], p_strategies text[], p_policies text[],
    p_set_time timestamptz, p_patient boolean
) returns table (
    verdict text, moment timestamptz, place bigint, accepted timestamptz, wakes boolean,
    known_metadata json, known_config json, stopped uuid, stopped_worker uuid, stopped_claim uuid
) language plpgsql
set lock_timeout = '5s' set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    locked constant uuid[] := lock_threads(p_threads, p_patient);
    this_moment constant timestamptz := coalesce(p_set_time, clock_timestamp());
begin
    return query
    with asked as materialized (
        select a.*, t.id is null as is_new, t.metadata as metadata_now, t.config as config_now,
            coalesce(t.next_seq, 1) as seq, t.claim is null as is_free, t.held_run, t.worker_id,
            t.claim, greatest(t.accepted_at, this_moment) as accepted,
            case when a.stop is not null then only_run_to_stop(a.thread) end as stopped
        from unnest(
            p_threads, p_assumed_metadata, p_assumed_configs, p_alone, p_stops, p_stop_reasons,
            p_thread_metadata, p_thread_configs, p_temporary, p_runs, p_assistants, p_graphs,
            p_metadata, p_kwargs, p_strategies, p_policies
        ) with ordinality as a (
            thread, assumed_metadata, assumed_config, alone, stop, stop_reason, thread_metadata,
            thread_config, temporary, run, assistant, graph, metadata, kwargs, strategy, policy,
            number
        )
        left join threads t on t.id = a.thread
    ),
    judged as materialized (
        select asked.*, case
            when not is_new and thread <> all(locked) then 'locked'
            when (select true from runs where id = asked.run limit 1) then 'other'
            when is_new then case when assumed_metadata is null then 'accepted' else 'other' end
            when alone and stopped is null and (
                select true from runs
                where thread_id = asked.thread and status in ('pending', 'running') limit 1
            ) then 'other'
            when metadata_now::text is distinct from assumed_metadata
                or config_now::text is distinct from assumed_config then 'differs'
            else 'accepted'
        end as verdict
        from asked
    ),
    made as (
        insert into threads (
            id, created_at, updated_at, state_updated_at, metadata, config, status, temporary,
            hinted_at, next_seq, accepted_at
        )
        select thread, this_moment, this_moment, this_moment, thread_metadata::json,
            thread_config::json, p_busy, temporary, this_moment, seq + 1, accepted
        from judged where verdict = 'accepted' and is_new
        order by thread
        on conflict do nothing
        returning id
    ),
    -- Whether a worker is to be told depends on who is first in line: not always the new one.
    taken as materialized (
        select judged.*, is_free and coalesce(line.due, accepted <= this_moment) as wakes
        from judged left join lateral next_in_line(judged.thread, this_moment) line on true
        where verdict = 'accepted' and (not is_new or exists (
            select from made where made.id = judged.thread
        ))
    ),
    stored as (
        insert into runs (
            id, thread_id, assistant_id, graph_id, seq, created_at, updated_at, status, metadata,
            kwargs, multitask_strategy, policy, not_before
        )
        select run, thread, assistant, graph, seq, accepted, this_moment, p_status, metadata::json,
            kwargs::json, strategy, policy::json, accepted
        from taken
        order by thread
    ),
    stopping as (
        update runs r
        set updated_at = this_moment, cancel = taken.stop, cancel_reason = taken.stop_reason,
            superseded_by = taken.run
        from taken where r.id = taken.stopped
    ),
    moved as (
        update threads t
        set metadata = taken.thread_metadata::json, config = taken.thread_config::json,
            updated_at = this_moment, status = p_busy, at_rest_since = null,
            next_seq = taken.seq + 1, accepted_at = taken.accepted,
            hinted_at = case when taken.wakes then this_moment else t.hinted_at end
        from taken where t.id = taken.thread and not taken.is_new
    )
    select
        case
            when judged.verdict = 'accepted' and taken.thread is null then 'other'
            else judged.verdict
        end,
        this_moment, judged.seq, judged.accepted, taken.wakes,
        case when judged.verdict = 'differs' then judged.metadata_now end,
        case when judged.verdict = 'differs' then judged.config_now end,
        taken.stopped,
        case when taken.held_run = taken.stopped then taken.worker_id end,
        case when taken.held_run = taken.stopped then taken.claim end
    from judged left join taken on taken.number = judged.number
    order by judged.number;
end
$$;

-- See 0004 and 0003.
create or replace function settle_runs(
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
) language plpgsql
set lock_timeout = '5s' set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    locked constant uuid[] := lock_threads(p_threads, p_patient);
    this_moment constant timestamptz := coalesce(p_set_time, clock_timestamp());
    settled integer[];
begin
    with held as materialized (
        select a.*
        from unnest(
            p_threads, p_runs, p_epochs, p_claims, p_statuses, p_errors, p_outputs,
            p_interrupted_outputs, p_values, p_interrupts, p_slots
        ) with ordinality as a (
            thread, run, epoch, claim, status, error, output, interrupted_output, thread_values,
            interrupts, slot, place
        )
        join threads t on t.id = a.thread and t.epoch = a.epoch and t.claim = a.claim
            and t.held_run = a.run
        cross join lateral (select * from runs where id = a.run limit 1) r
        where a.thread = any(locked) and r.status = 'running' and r.cancel is distinct from 'rollback'
    ),
    ended as (
        update runs r
        set status = a.status, updated_at = this_moment, worker_id = null, error = a.error::json,
            output = a.output::json, interrupted_output = a.interrupted_output::json
        from held a where r.id = a.run
        returning a.*
    ),
    shown as (
        insert into thread_values as v (thread_id, "values", interrupts)
        select thread, thread_values::json, interrupts::json
        from ended where thread_values is not null
        on conflict (thread_id) do update set
            "values" = excluded."values", interrupts = excluded.interrupts
    ),
    noted as (
        insert into settlements (thread_id, slot, epoch, claim, run_id, status)
        select thread, slot, epoch, claim, run, status from ended
        on conflict (thread_id, slot) do update set
            epoch = excluded.epoch, claim = excluded.claim, run_id = excluded.run_id,
            status = excluded.status
    )
    select coalesce(array_agg(place), '{}') into settled from ended;
    perform put_writes(
        settled, p_threads, p_runs, p_residue_owners, p_residue_ns, p_residue_checkpoints,
        p_residue_tasks, p_residue_positions, p_residue_paths, p_residue_channels,
        p_residue_kinds, p_residue_data
    );
    return query
    with asked as materialized (
        select * from unnest(
            p_threads, p_workers, p_unfinished, p_failed, p_errors, p_at_rest,
            p_at_rest_unfinished, p_next
        ) with ordinality as a (
            thread, worker, unfinished, failed, error, at_rest, at_rest_unfinished, claim, place
        )
    ),
    ahead as materialized (
        select asked.*, coalesce(line.due, false) as due,
            case
                when line.due and claim is not null and w.id is not null then line.run_id
            end as next_id,
            (
                select true from runs
                where thread_id = asked.thread and status in ('pending', 'running') limit 1
            ) is true as in_flight
        from asked
        left join workers w
            on w.id = asked.worker and not w.dead and w.lease_until > this_moment
        left join lateral next_in_line(asked.thread, this_moment) line on true
        where place = any(settled)
    ),
    claimed as (
        update runs r
        set status = p_claimed, updated_at = this_moment, attempt = r.attempt + 1,
            worker_id = ahead.worker
        from ahead where r.id = ahead.next_id
        returning r.*
    ),
    moved as (
        update threads t
        set updated_at = this_moment, state_updated_at = this_moment, failed = a.failed,
            error = a.error::json, unfinished = coalesce(a.unfinished, t.unfinished),
            status = case
                when a.in_flight then p_busy
                when coalesce(a.unfinished, t.unfinished) then a.at_rest_unfinished
                else a.at_rest
            end,
            at_rest_since = case when not a.in_flight then coalesce(t.at_rest_since, this_moment) end,
            hinted_at = case when a.due and a.next_id is null then this_moment else t.hinted_at end,
            epoch = t.epoch + case when a.next_id is null then 0 else 1 end,
            claim = case when a.next_id is not null then a.claim end,
            worker_id = case when a.next_id is not null then a.worker end,
            held_run = a.next_id,
            claimed_at = case when a.next_id is not null then this_moment end
        from ahead a where t.id = a.thread
    )
    select
        case
            when ahead.place is not null then 'settled'
            when asked.thread <> all(locked) and (
                select true from threads t where t.id = asked.thread limit 1
            ) then 'locked'
            else 'other'
        end,
        this_moment, ahead.due and ahead.next_id is null, to_json(claimed)
    from asked
    left join ahead on ahead.place = asked.place
    left join claimed on claimed.id = ahead.next_id
    order by asked.place;
end
$$;

-- What happened to runs goes to the outbox statement by statement, too; discarded runs, of which
-- there are few, as before.
create function note_accepted_in_outbox() returns trigger language plpgsql as $$
begin
    insert into outbox (thread_id, run_id, assistant_id, graph_id, stage, attempt)
    select thread_id, id, assistant_id, graph_id, status, attempt
    from made order by thread_id, seq;
    return null;
end
$$;

create function note_changed_in_outbox() returns trigger language plpgsql as $$
begin
    insert into outbox (thread_id, run_id, assistant_id, graph_id, stage, attempt)
    select n.thread_id, n.id, n.assistant_id, n.graph_id, n.status, n.attempt
    from now_is n join was on was.id = n.id
    where was.status <> n.status
    order by n.thread_id, n.seq;
    return null;
end
$$;

drop trigger runs_note_accepted on runs;
drop trigger runs_note_changed on runs;

create trigger runs_note_accepted after insert on runs
    referencing new table as made
    for each statement execute function note_accepted_in_outbox();

create trigger runs_note_changed after update on runs
    referencing old table as was new table as now_is
    for each statement execute function note_changed_in_outbox();

-- All that belongs to a thread is written while its row is locked, by whoever has seen that it is there:
-- a foreign key would look for the thread once more with each row. What is left of one is that nothing
-- outlives its thread.
alter table thread_values drop constraint thread_values_thread_id_fkey;
alter table thread_metadata drop constraint thread_metadata_thread_id_fkey;
alter table runs drop constraint runs_thread_id_fkey;
alter table settlements drop constraint settlements_thread_id_fkey;
alter table checkpoints drop constraint checkpoints_thread_id_fkey;
alter table channel_blobs drop constraint channel_blobs_thread_id_fkey;
alter table pending_writes drop constraint pending_writes_thread_id_fkey;

create function delete_with_thread() returns trigger language plpgsql as $$
begin
    delete from thread_values where thread_id = old.id;
    delete from thread_metadata where thread_id = old.id;
    delete from runs where thread_id = old.id;
    delete from settlements where thread_id = old.id;
    delete from checkpoints where thread_id = old.id;
    delete from channel_blobs where thread_id = old.id;
    delete from pending_writes where thread_id = old.id;
    return null;
end
$$;

create trigger threads_deleted after delete on threads
    for each row execute function delete_with_thread();

-- What took one thread after the other.
drop function submit_run;
drop function settle_run;
drop function claim_due;
drop function outlook;
drop function lock_thread;
drop function is_alive;
