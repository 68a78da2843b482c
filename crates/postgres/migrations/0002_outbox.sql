-- What happened to runs and is still to be told. A row is deleted when it was told, so the table is
-- short, and much of it is dead: it is swept often.
create table outbox (
    id           bigint      not null primary key generated always as identity,
    at           timestamptz not null default clock_timestamp(),
    thread_id    uuid        not null,
    run_id       uuid        not null,
    assistant_id uuid        not null,
    graph_id     text        collate "C" not null,
    stage        text        collate "C" not null,
    attempt      integer     not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Who tells it: one at a time, so that the order along a thread is kept.
create table outbox_relay (
    only_row bool        not null primary key default true check (only_row),
    holder   uuid,
    until    timestamptz not null default '-infinity'
) with (fillfactor = 50);

insert into outbox_relay default values;

-- Whoever changes a run has locked its thread, so the ids of a thread's events grow in the order in
-- which its changes are committed.
create function note_in_outbox() returns trigger language plpgsql as $$
declare
    run runs;
begin
    if tg_op = 'DELETE' then
        run := old;
        run.status := 'discarded';
    else
        run := new;
    end if;
    insert into outbox (thread_id, run_id, assistant_id, graph_id, stage, attempt)
    values (run.thread_id, run.id, run.assistant_id, run.graph_id, run.status, run.attempt);
    return null;
end
$$;

create trigger runs_note_accepted after insert on runs
    for each row execute function note_in_outbox();

create trigger runs_note_changed after update on runs
    for each row when (old.status is distinct from new.status) execute function note_in_outbox();

create trigger runs_note_discarded after delete on runs
    for each row when (old.status in ('pending', 'running')) execute function note_in_outbox();
