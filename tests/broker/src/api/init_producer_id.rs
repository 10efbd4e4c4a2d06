//! InitProducerId: a fresh producer id, or the next epoch of the one that the producer has (KIP-360).

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::Call;

pub(crate) fn answer(call: &Call<'_>, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    if call.version >= 3 && request.producer_id.0 >= 0 {
        return InitProducerIdResponse::default()
            .with_producer_id(request.producer_id)
            .with_producer_epoch(request.producer_epoch.saturating_add(1));
    }
    let fresh = i64::try_from(call.shared.lock().fresh()).unwrap_or(i64::MAX);
    InitProducerIdResponse::default().with_producer_id(ProducerId(fresh)).with_producer_epoch(0)
}
