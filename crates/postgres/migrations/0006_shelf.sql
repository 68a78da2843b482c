-- Stores pending writes on those of the threads whose places, counted from one, are given. A write of a
-- special slot hides an earlier one; it replaces it only within a run, so that the earlier one is back
-- when the run is discarded.
create function put_writes(
    p_places integer[], p_threads uuid[], p_runs uuid[],
    p_owners integer[], p_ns text[], p_checkpoints text[], p_tasks text[], p_positions integer[],
    p_paths text[], p_channels text[], p_kinds text[], p_data bytea[]
) returns void language plpgsql as $$
declare
    nobody constant uuid := '00000000-0000-0000-0000-000000000000';
begin
    if cardinality(p_owners) = 0 then
        return;
    end if;
    insert into pending_writes (
        thread_id, ns, checkpoint_id, task_id, position, writer, run_id, task_path, channel, kind,
        data
    )
    select p_threads[w.owner], w.ns, w.checkpoint_id, w.task_id, w.position,
        case when w.position < 0 then coalesce(p_runs[w.owner], nobody) else nobody end,
        p_runs[w.owner], w.task_path, w.channel, w.kind, w.data
    from unnest(
        p_owners, p_ns, p_checkpoints, p_tasks, p_positions, p_paths, p_channels, p_kinds, p_data
    ) as w (owner, ns, checkpoint_id, task_id, position, task_path, channel, kind, data)
    where w.owner = any(p_places)
    on conflict (thread_id, ns, checkpoint_id, task_id, position, writer) do update set
        run_id = excluded.run_id, task_path = excluded.task_path, channel = excluded.channel,
        kind = excluded.kind, data = excluded.data, written = default
    where pending_writes.position < 0;
end
$$;

-- Stores checkpoints with their values, each unless it is there, and pending writes: for several
-- threads, each judged on its own.
--
-- Answers with the places of those threads, counted from one, that carry the fence they must carry (no
-- fence is asked for where the thread is locked and was judged already). Of the others nothing is
-- stored. A thread is locked when it is looked at, so that nobody can claim it before this is
-- committed. Who is not patient leaves out what is locked.
--
-- Postgres is told how to plan this: left to itself it decides while the tables are almost empty, reads
-- all threads to find one, and keeps to that.
create function put_on_shelf(
    p_threads uuid[], p_epochs bigint[], p_claims uuid[], p_runs uuid[], p_patient boolean,
    p_value_owners integer[], p_value_ns text[], p_value_channels text[], p_value_versions text[],
    p_value_kinds text[], p_value_data bytea[],
    p_owners integer[], p_ns text[], p_ids text[], p_parents text[], p_metadata text[],
    p_head_kinds text[], p_heads bytea[], p_versions text[], p_created timestamptz[],
    p_write_owners integer[], p_write_ns text[], p_write_checkpoints text[], p_write_tasks text[],
    p_write_positions integer[], p_write_paths text[], p_write_channels text[],
    p_write_kinds text[], p_write_data bytea[]
) returns integer[] language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set lock_timeout = '5s' as $$
declare
    places integer[];
begin
    if p_patient then
        places := array(
            select a.place
            from unnest(p_threads, p_epochs, p_claims, p_runs) with ordinality
                as a (thread, epoch, claim, run, place)
            join threads t on t.id = a.thread
            where a.epoch is null
                or (t.epoch = a.epoch and t.claim = a.claim and t.held_run = a.run)
            for share of t
        );
    else
        places := array(
            select a.place
            from unnest(p_threads, p_epochs, p_claims, p_runs) with ordinality
                as a (thread, epoch, claim, run, place)
            join threads t on t.id = a.thread
            where a.epoch is null
                or (t.epoch = a.epoch and t.claim = a.claim and t.held_run = a.run)
            for share of t skip locked
        );
    end if;
    if cardinality(p_value_owners) > 0 then
        insert into channel_blobs (thread_id, ns, channel, version, run_id, kind, data)
        select p_threads[v.owner], v.ns, v.channel, v.version, p_runs[v.owner], v.kind, v.data
        from unnest(
            p_value_owners, p_value_ns, p_value_channels, p_value_versions, p_value_kinds,
            p_value_data
        ) as v (owner, ns, channel, version, kind, data)
        where v.owner = any(places)
        on conflict do nothing;
    end if;
    if cardinality(p_owners) > 0 then
        insert into checkpoints (
            thread_id, ns, id, parent, run_id, metadata, head_kind, head, versions, created_at
        )
        select p_threads[c.owner], c.ns, c.id, c.parent, p_runs[c.owner], c.metadata::json,
            c.head_kind, c.head, c.versions::json, c.created_at
        from unnest(
            p_owners, p_ns, p_ids, p_parents, p_metadata, p_head_kinds, p_heads, p_versions,
            p_created
        ) as c (owner, ns, id, parent, metadata, head_kind, head, versions, created_at)
        where c.owner = any(places)
        on conflict do nothing;
    end if;
    perform put_writes(
        places, p_threads, p_runs, p_write_owners, p_write_ns, p_write_checkpoints, p_write_tasks,
        p_write_positions, p_write_paths, p_write_channels, p_write_kinds, p_write_data
    );
    return places;
end
$$;
