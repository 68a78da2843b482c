-- Everything the server keeps. Times are microseconds since 1970 in UTC, ids are 16 bytes, JSON is
-- text. The constraints repeat what the rules in the core already promise.

-- Worker processes. A dead one must start anew under another id.
create table workers (
    id          blob    not null primary key,
    lease_until integer not null,
    dead        integer not null default 0 check (dead in (0, 1))
) strict, without rowid;

-- A thread holds everything that orders its runs: the acceptance counter and the fence.
create table threads (
    id               blob    not null primary key,
    created_at       integer not null,
    updated_at       integer not null,
    state_updated_at integer not null,
    metadata         text    not null,
    config           text    not null,
    status           text    not null check (status in ('idle', 'busy', 'interrupted', 'error')),
    error            text,
    -- Facts that the status follows from, besides the runs in flight.
    failed           integer not null default 0 check (failed in (0, 1)),
    unfinished       integer not null default 0 check (unfinished in (0, 1)),
    -- Whether it was made for one run only, and goes with it.
    temporary        integer not null default 0 check (temporary in (0, 1)),
    -- When its last run in flight ended, and when somebody was last told that it has a due run.
    at_rest_since    integer,
    hinted_at        integer not null,
    -- The place of the next run in the order of acceptance, and when the last one was accepted.
    next_seq         integer not null default 1,
    accepted_at      integer not null default 0,
    -- The fence, and who holds it.
    epoch            integer not null default 0,
    claim            blob,
    worker_id        blob,
    held_run         blob,
    claimed_at       integer,
    check ((claim is null) = (worker_id is null)),
    check ((claim is null) = (held_run is null)),
    check ((claim is null) = (claimed_at is null)),
    check (claim is null or status = 'busy'),
    check (at_rest_since is null or status <> 'busy')
) strict;

create index threads_held on threads (worker_id) where worker_id is not null;
create index threads_waiting on threads (hinted_at) where claim is null and status = 'busy';
create index threads_temporary on threads (at_rest_since) where temporary = 1;

-- What a thread's last run left. Apart from the thread, whose row every claim rewrites.
create table thread_values (
    thread_id  blob not null primary key references threads (id) on delete cascade,
    "values"   text not null,
    interrupts text not null
) strict;

create table runs (
    id                 blob    not null primary key,
    thread_id          blob    not null references threads (id) on delete cascade,
    assistant_id       blob    not null,
    graph_id           text    not null,
    seq                integer not null,
    created_at         integer not null,
    updated_at         integer not null,
    status             text    not null check (
        status in ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')
    ),
    metadata           text    not null,
    kwargs             text    not null,
    multitask_strategy text    not null,
    policy             text    not null,
    cancel             text    check (cancel in ('interrupt', 'rollback')),
    cancel_reason      text,
    superseded_by      blob,
    -- Attempts started, and those of them that do not count because they were given back.
    attempt            integer not null default 0,
    handed_back        integer not null default 0 check (handed_back between 0 and attempt),
    -- No attempt starts before this. The run keeps its place meanwhile: nothing overtakes it.
    not_before         integer not null,
    -- The worker that executes it. Under which claim is the thread's matter.
    worker_id          blob,
    error              text,
    output             text,
    interrupted_output text,
    unique (thread_id, seq),
    check ((status = 'running') = (worker_id is not null))
) strict;

create unique index runs_one_running on runs (thread_id) where status = 'running';
create index runs_in_flight on runs (thread_id, created_at, seq)
    where status in ('pending', 'running');
-- How the latest attempts on a thread left their runs, so that a settlement can be repeated when
-- its answer was lost. A ring: the slot is the epoch, modulo a constant.
create table settlements (
    thread_id blob    not null references threads (id) on delete cascade,
    slot      integer not null,
    epoch     integer not null,
    claim     blob    not null,
    run_id    blob    not null,
    status    text,
    primary key (thread_id, slot)
) strict, without rowid;

create table checkpoints (
    thread_id  blob    not null references threads (id) on delete cascade,
    ns         text    not null,
    id         text    not null,
    parent     text,
    run_id     blob,
    metadata   text    not null,
    head_kind  text    not null,
    head       blob    not null,
    versions   text    not null,
    created_at integer not null,
    primary key (thread_id, ns, id)
) strict;

-- Channel values, each stored once and shared by all checkpoints that name its version.
create table channel_blobs (
    thread_id blob not null references threads (id) on delete cascade,
    ns        text not null,
    channel   text not null,
    version   text not null,
    run_id    blob,
    kind      text not null,
    data      blob not null,
    primary key (thread_id, ns, channel, version)
) strict;

-- Writes beside a checkpoint. A special slot (negative position) can be written by several runs in
-- turn; each keeps a row, the latest holds, and a rollback uncovers the one before it. Ordinary
-- writes are written once, whoever comes first: their writer is no part of the key.
create table pending_writes (
    thread_id     blob    not null references threads (id) on delete cascade,
    ns            text    not null,
    checkpoint_id text    not null,
    task_id       text    not null,
    position      integer not null,
    writer        blob    not null,
    run_id        blob,
    task_path     text    not null,
    channel       text    not null,
    kind          text    not null,
    data          blob    not null,
    primary key (thread_id, ns, checkpoint_id, task_id, position, writer)
) strict;

-- An assistant, and which of its versions holds.
create table assistants (
    id         blob    not null primary key,
    version    integer not null,
    created_at integer not null,
    updated_at integer not null
) strict, without rowid;

create table assistant_versions (
    assistant_id blob    not null references assistants (id) on delete cascade,
    version      integer not null check (version > 0),
    graph_id     text    not null,
    config       text    not null,
    context      text    not null,
    metadata     text    not null,
    name         text    not null,
    description  text,
    created_at   integer not null,
    primary key (assistant_id, version)
) strict;

-- The long-term memory. A namespace is written so that its bytes sort as its labels do and all that
-- is below it is one range: each label ends with a zero byte.
create table items (
    namespace  blob    not null,
    key        text    not null,
    value      text    not null,
    created_at integer not null,
    updated_at integer not null,
    primary key (namespace, key)
) strict;
