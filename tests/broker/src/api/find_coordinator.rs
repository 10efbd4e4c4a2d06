//! FindCoordinator: one key up to version 3, many from version 4 on.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};

use super::{Call, text};
use crate::state::State;

pub(crate) fn answer(call: &Call<'_>, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    let state = call.shared.lock();
    if call.version >= 4 {
        let coordinators = request.coordinator_keys.iter().map(|key| find(&state, key)).collect();
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    let found = find(&state, &request.key);
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}

fn find(state: &State, key: &str) -> Coordinator {
    let answer = Coordinator::default().with_key(text(key));
    let node = state.coordinator_of(key).and_then(|id| state.nodes.get(&id)).filter(|node| node.is_running());
    match node {
        Some(node) => {
            answer.with_node_id(BrokerId(node.id)).with_host(text(node.host.clone())).with_port(i32::from(node.port()))
        }
        None => answer
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(ResponseError::CoordinatorNotAvailable.code()),
    }
}
