//! The request to cancel many runs.

use runloom_core::ids::{RunId, ThreadId};
use runloom_core::search::CancelSelection;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::RunRefusal;

/// Which runs to cancel: by status, or by their ids on one thread.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct CancelMany {
    /// All runs that stand here.
    pub status: Option<CancelStatus>,
    /// The thread of the runs.
    pub thread_id: Option<Uuid>,
    /// These runs.
    pub run_ids: Option<Vec<Uuid>>,
}

/// Where the runs to cancel stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelStatus {
    /// Those that wait.
    Pending,
    /// Those that execute.
    Running,
    /// Both.
    All,
}

impl TryFrom<CancelMany> for CancelSelection {
    type Error = RunRefusal;

    fn try_from(body: CancelMany) -> Result<Self, RunRefusal> {
        match (body.status, body.thread_id, body.run_ids) {
            (Some(CancelStatus::Pending), None, None) => Ok(Self::Pending),
            (Some(CancelStatus::Running), None, None) => Ok(Self::Running),
            (Some(CancelStatus::All), None, None) => Ok(Self::All),
            (None, Some(thread), Some(runs)) => Ok(Self::Runs(
                ThreadId(thread),
                runs.into_iter().map(RunId).collect(),
            )),
            _ => Err(RunRefusal::Invalid(
                "Name the runs to cancel either by status, or by thread_id and run_ids.".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: serde_json::Value) -> Result<CancelSelection, RunRefusal> {
        serde_json::from_value::<CancelMany>(body)
            .expect("the types fit")
            .try_into()
    }

    #[test]
    fn runs_are_named_by_status_or_by_id_but_not_both() {
        assert_eq!(read(json!({"status": "all"})), Ok(CancelSelection::All));
        let id = Uuid::from_u128(1);
        assert_eq!(
            read(json!({"thread_id": id, "run_ids": [id]})),
            Ok(CancelSelection::Runs(ThreadId(id), vec![RunId(id)]))
        );
        for wrong in [
            json!({}),
            json!({"thread_id": id}),
            json!({"run_ids": [id]}),
            json!({"status": "all", "thread_id": id, "run_ids": [id]}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(serde_json::from_value::<CancelMany>(json!({"status": "done"})).is_err());
    }
}
