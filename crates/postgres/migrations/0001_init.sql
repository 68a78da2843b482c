-- Everything the server keeps. JSON is of type json, not jsonb: it comes back letter by letter. Text
-- that is compared sorts by its bytes, as it does everywhere else. The constraints repeat what the
-- rules in the core already promise.

-- Worker processes. A dead one must start anew under another id. Rewritten with every renewal, as
-- threads and runs are with every step of the queue: room is left for that in their pages.
create table workers (
    id          uuid        not null primary key,
    lease_until timestamptz not null,
    -- How long a lease lasts that it was given last.
    lease       interval    not null,
    dead        boolean     not null default false
) with (fillfactor = 50);

-- A thread holds everything that orders its runs: the acceptance counter and the fence.
create table threads (
    id               uuid        not null primary key,
    created_at       timestamptz not null,
    updated_at       timestamptz not null,
    state_updated_at timestamptz not null,
    metadata         json        not null,
    config           json        not null,
    status           text        collate "C" not null
        check (status in ('idle', 'busy', 'interrupted', 'error')),
    error            json,
    -- Facts that the status follows from, besides the runs in flight.
    failed           boolean     not null default false,
    unfinished       boolean     not null default false,
    -- Whether it was made for one run only, and goes with it.
    temporary        boolean     not null default false,
    -- When its last run in flight ended, and when somebody was last told that it has a due run.
    at_rest_since    timestamptz,
    hinted_at        timestamptz not null,
    -- The place of the next run in the order of acceptance, and when the last one was accepted.
    next_seq         bigint      not null default 1,
    accepted_at      timestamptz not null default 'epoch',
    -- The fence, and who holds it.
    epoch            bigint      not null default 0,
    claim            uuid,
    worker_id        uuid,
    held_run         uuid,
    claimed_at       timestamptz,
    check ((claim is null) = (worker_id is null)),
    check ((claim is null) = (held_run is null)),
    check ((claim is null) = (claimed_at is null)),
    check (claim is null or status = 'busy'),
    check (at_rest_since is null or status <> 'busy')
) with (fillfactor = 70);

create index threads_held on threads (worker_id) where worker_id is not null;
create index threads_waiting on threads (hinted_at) where claim is null and status = 'busy';
create index threads_temporary on threads (at_rest_since) where temporary;

-- What a thread's last run left. Apart from the thread, whose row every claim rewrites.
create table thread_values (
    thread_id  uuid not null primary key references threads (id) on delete cascade,
    "values"   json not null,
    interrupts json not null
);

create table runs (
    id                 uuid        not null primary key,
    thread_id          uuid        not null references threads (id) on delete cascade,
    assistant_id       uuid        not null,
    graph_id           text        collate "C" not null,
    seq                bigint      not null,
    created_at         timestamptz not null,
    updated_at         timestamptz not null,
    status             text        collate "C" not null check (
        status in ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')
    ),
    metadata           json        not null,
    kwargs             json        not null,
    multitask_strategy text        collate "C" not null,
    policy             json        not null,
    cancel             text        collate "C" check (cancel in ('interrupt', 'rollback')),
    cancel_reason      text,
    superseded_by      uuid,
    -- Attempts started, and those of them that do not count because they were given back.
    attempt            integer     not null default 0,
    handed_back        integer     not null default 0 check (handed_back between 0 and attempt),
    -- No attempt starts before this. The run keeps its place meanwhile: nothing overtakes it.
    not_before         timestamptz not null,
    -- The worker that executes it. Under which claim is the thread's matter.
    worker_id          uuid,
    error              json,
    output             json,
    interrupted_output json,
    unique (thread_id, seq),
    check ((status = 'running') = (worker_id is not null))
) with (fillfactor = 70);

create unique index runs_one_running on runs (thread_id) where status = 'running';
create index runs_in_flight on runs (thread_id, created_at, seq)
    where status in ('pending', 'running');

-- How the latest attempts on a thread left their runs, so that a settlement can be repeated when
-- its answer was lost. A ring: the slot is the epoch, modulo a constant.
create table settlements (
    thread_id uuid   not null references threads (id) on delete cascade,
    slot      bigint not null,
    epoch     bigint not null,
    claim     uuid   not null,
    run_id    uuid   not null,
    status    text   collate "C",
    primary key (thread_id, slot)
) with (fillfactor = 70);

create table checkpoints (
    thread_id  uuid        not null references threads (id) on delete cascade,
    ns         text        collate "C" not null,
    id         text        collate "C" not null,
    parent     text        collate "C",
    run_id     uuid,
    metadata   json        not null,
    head_kind  text        not null,
    head       bytea       not null,
    versions   json        not null,
    created_at timestamptz not null,
    primary key (thread_id, ns, id)
);

-- Channel values, each stored once and shared by all checkpoints that name its version.
create table channel_blobs (
    thread_id uuid  not null references threads (id) on delete cascade,
    ns        text  collate "C" not null,
    channel   text  collate "C" not null,
    version   text  collate "C" not null,
    run_id    uuid,
    kind      text  not null,
    data      bytea not null,
    primary key (thread_id, ns, channel, version)
);

-- Writes beside a checkpoint. A special slot (negative position) can be written by several runs in
-- turn; each keeps a row, the latest holds, and a rollback uncovers the one before it. Ordinary
-- writes are written once, whoever comes first: their writer is no part of the key.
create table pending_writes (
    thread_id     uuid    not null references threads (id) on delete cascade,
    ns            text    collate "C" not null,
    checkpoint_id text    collate "C" not null,
    task_id       text    collate "C" not null,
    position      integer not null,
    writer        uuid    not null,
    run_id        uuid,
    task_path     text    collate "C" not null,
    channel       text    collate "C" not null,
    kind          text    not null,
    data          bytea   not null,
    -- Grows with each write: the latest of a slot has the greatest.
    written       bigint  not null generated always as identity,
    primary key (thread_id, ns, checkpoint_id, task_id, position, writer)
);

-- An assistant, and which of its versions holds.
create table assistants (
    id         uuid        not null primary key,
    version    bigint      not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create table assistant_versions (
    assistant_id uuid        not null references assistants (id) on delete cascade,
    version      bigint      not null check (version > 0),
    graph_id     text        collate "C" not null,
    config       json        not null,
    context      json        not null,
    metadata     json        not null,
    name         text        collate "C" not null,
    description  text,
    created_at   timestamptz not null,
    primary key (assistant_id, version)
);

-- The long-term memory. A namespace is written so that its bytes sort as its labels do and all that
-- is below it is one range: each label ends with a zero byte. A key may have zeros, too.
create table items (
    namespace  bytea       not null,
    key        bytea       not null,
    value      json        not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (namespace, key)
);

-- A document as searches look into it. Text of type jsonb has no zeros: another letter, which no
-- search asks for, stands for them. Null where a document is none to jsonb at all, which only what
-- users write can be: numbers without measure, halves of surrogate pairs.
create function searchable(document json) returns jsonb
language plpgsql immutable strict as $$
begin
    return document::jsonb;
exception when others then
    begin
        return regexp_replace(document::text, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')::jsonb;
    exception when others then
        return null;
    end;
end
$$;

-- What the metadata of threads are searched by. Apart from the threads, whose rows are rewritten
-- with every step of the queue: an index of this kind is dear to write.
create table thread_metadata (
    thread_id  uuid  not null primary key references threads (id) on delete cascade,
    searchable jsonb not null
);

-- Every search reads what was put off, so little is put off.
create index thread_metadata_searchable on thread_metadata using gin (searchable jsonb_path_ops)
    with (gin_pending_list_limit = 256);

create function keep_thread_metadata() returns trigger
language plpgsql as $$
begin
    insert into thread_metadata (thread_id, searchable) values (new.id, searchable(new.metadata))
    on conflict (thread_id) do update set searchable = excluded.searchable;
    return null;
end
$$;

create trigger thread_metadata_made after insert on threads
for each row when (new.metadata::text <> '{}') execute function keep_thread_metadata();

create trigger thread_metadata_changed after update of metadata on threads
for each row when (new.metadata::text <> old.metadata::text) execute function keep_thread_metadata();

create index assistant_versions_searchable on assistant_versions
    using gin (searchable(metadata) jsonb_path_ops);
