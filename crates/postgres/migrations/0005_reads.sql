-- What is read with every run. As functions, because of how these statements are planned: left to
-- itself Postgres plans a statement with lists anew for the lists of each call, which takes several
-- times as long as carrying it out.

-- Checkpoints named by thread, namespace and id, or the latest of a namespace, each with its place
-- among those that are asked for, with their values and pending writes. What is not there is left
-- out.
--
-- There is one value of a version. To say so (`limit 1`) keeps Postgres from reading all that the
-- thread ever had in order to pick a few.
create function read_checkpoints(p_threads uuid[], p_ns text[], p_ids text[])
returns table (
    place bigint, thread_id uuid, ns text, id text, parent text, run_id uuid, metadata json,
    head_kind text, head bytea, versions json, created_at timestamptz,
    channels text[], kinds text[], data bytea[],
    write_tasks text[], write_paths text[], write_positions integer[], write_channels text[],
    write_kinds text[], write_data bytea[]
) language plpgsql stable set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
    return query
    select k.place, c.thread_id, c.ns, c.id, c.parent, c.run_id, c.metadata, c.head_kind, c.head,
        c.versions, c.created_at, v.channels, v.kinds, v.data, w.tasks, w.paths, w.positions,
        w.channels, w.kinds, w.data
    from unnest(p_threads, p_ns, p_ids) with ordinality as k (thread, ns, id, place)
    cross join lateral (
        (select * from checkpoints where thread_id = k.thread and ns = k.ns and id = k.id)
        union all
        (select * from checkpoints where k.id is null and thread_id = k.thread and ns = k.ns
        order by id desc limit 1)
    ) c
    cross join lateral (
        select coalesce(array_agg(b.channel), '{}') as channels,
            coalesce(array_agg(b.kind), '{}') as kinds,
            coalesce(array_agg(b.data), '{}') as data
        from json_each_text(c.versions) version
        cross join lateral (
            select * from channel_blobs
            where thread_id = c.thread_id and ns = c.ns and channel = version.key
                and version = version.value
            limit 1
        ) b
    ) v
    cross join lateral (
        select coalesce(array_agg(task_id), '{}') as tasks,
            coalesce(array_agg(task_path), '{}') as paths,
            coalesce(array_agg(position), '{}') as positions,
            coalesce(array_agg(channel), '{}') as channels,
            coalesce(array_agg(kind), '{}') as kinds,
            coalesce(array_agg(data), '{}') as data
        from (
            select distinct on (task_id, position) *
            from pending_writes
            where thread_id = c.thread_id and ns = c.ns and checkpoint_id = c.id
            order by task_id, position, written desc
        ) visible
    ) w
    order by k.place;
end
$$;

-- Those of the assistants that are there, at their current versions, in the order of their ids in
-- the list.
create function read_assistants(p_ids uuid[])
returns table (
    id uuid, version bigint, created_at timestamptz, updated_at timestamptz, graph_id text,
    config json, context json, metadata json, name text, description text
) language plpgsql stable set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
    return query
    select a.id, a.version, a.created_at, a.updated_at, v.graph_id, v.config, v.context, v.metadata,
        v.name, v.description
    from unnest(p_ids) with ordinality as k (id, place)
    join assistants a on a.id = k.id
    join assistant_versions v on v.assistant_id = a.id and v.version = a.version
    order by k.place;
end
$$;
