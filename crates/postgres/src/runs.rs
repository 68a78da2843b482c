//! Runs.

use runloom_core::ids::ThreadId;

use crate::connections::Change;
use crate::error::Result;

/// What lies before a thread.
pub(crate) struct Outlook {
    /// Whether any run is pending or running.
    pub(crate) in_flight: bool,
    /// Whether there is a run to be claimed next, and it is due.
    pub(crate) due: bool,
}

/// What lies before the thread, which is locked.
pub(crate) async fn outlook(change: &mut Change, thread: ThreadId) -> Result<Outlook> {
    let outlook = sqlx::query_as!(
        Outlook,
        r#"select
            exists (
                select 1 from runs where thread_id = $1 and status in ('pending', 'running')
            ) as "in_flight!",
            coalesce((
                select not_before <= $2 from runs
                where thread_id = $1 and status in ('pending', 'running') and status = 'pending'
                    and created_at <= $2
                order by created_at, seq limit 1
            ), false) as "due!""#,
        thread.0,
        change.now
    );
    Ok(outlook.fetch_one(&mut **change).await?)
}
