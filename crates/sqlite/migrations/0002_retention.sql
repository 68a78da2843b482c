-- How long a thread is kept after its row last changed, and what becomes of it then; and how it was, by
-- its `updated_at`, when its history was deleted for that.
alter table threads add column ttl_minutes real check (ttl_minutes > 0);
alter table threads add column ttl_strategy text
    check (ttl_strategy in ('delete', 'keep_latest'))
    check ((ttl_strategy is null) = (ttl_minutes is null));
alter table threads add column trimmed_at integer;

-- Threads at rest by the moment at which their time is up. Those without such a time are not in it.
create index threads_expiring on threads (updated_at + cast(ttl_minutes * 60000000 as integer))
    where ttl_minutes is not null and status <> 'busy' and trimmed_at is not updated_at;

-- Runs that are over, by when that was.
create index runs_over on runs (updated_at) where status not in ('pending', 'running');
