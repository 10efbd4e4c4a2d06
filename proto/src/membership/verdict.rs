//! What an error code of a group request means to a member. The reaction is the machine's: it depends on its state.

use crate::error_code::ErrorCode;
use crate::membership::exchange::FatalCause;

/// The meaning of an answer's error code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No error.
    Accepted,
    /// The coordinator is alive and cannot answer yet, or something passed by: ask again after a pause (fault G11).
    Later,
    /// Not this broker, or not now: find the coordinator again (fault G10).
    CoordinatorMoved,
    /// Join again with the id that the answer holds (KIP-394).
    MemberIdRequired,
    /// Our member id means nothing there.
    MemberUnknown,
    /// The group is in another generation than we.
    GenerationStale,
    /// Known and alive, and to join again.
    GroupRebalancing,
    /// Repeating will not help.
    Fatal(FatalCause),
}

impl Verdict {
    pub(super) fn of(error: ErrorCode) -> Self {
        match error {
            ErrorCode::None => Self::Accepted,
            ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator => Self::CoordinatorMoved,
            ErrorCode::MemberIdRequired => Self::MemberIdRequired,
            ErrorCode::UnknownMemberId => Self::MemberUnknown,
            ErrorCode::IllegalGeneration => Self::GenerationStale,
            ErrorCode::RebalanceInProgress => Self::GroupRebalancing,
            ErrorCode::FencedInstanceId => Self::Fatal(FatalCause::FencedInstanceId),
            ErrorCode::InvalidGroupId
            | ErrorCode::InconsistentGroupProtocol
            | ErrorCode::InvalidSessionTimeout
            | ErrorCode::GroupMaxSizeReached
            | ErrorCode::UnsupportedVersion => Self::Fatal(FatalCause::Refused(error)),
            // COORDINATOR_LOAD_IN_PROGRESS; GROUP_AUTHORIZATION_FAILED, which heals when somebody grants it; and whatever
            // a newer broker invents: never a reason to stop, see `Membership::trouble` for what to tell the operator.
            _ => Self::Later,
        }
    }
}
