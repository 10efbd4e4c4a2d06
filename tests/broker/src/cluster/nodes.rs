//! Disturbing brokers, connections, sessions and coordinators.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::VersionRange;

use super::Cluster;
use crate::node::{self, Node};

impl Cluster {
    /// Stops a broker: its listener and connections close, metadata leaves it out. What it led has no leader that can be
    /// reached until a test moves it or calls [`Cluster::fail_over`].
    pub fn stop_broker(&self, broker: i32) {
        let closing = self.shared().lock().nodes.get_mut(&broker).map(Node::stop);
        if let Some(closing) = closing {
            closing.close();
        }
    }

    /// Starts a stopped broker on the port it had. Panics if that port was taken meanwhile.
    pub fn start_broker(&self, broker: i32) {
        let address = self.address(broker);
        node::listen(self.shared(), broker, address).expect("the broker's port is still free");
    }

    /// Moves what a broker led and coordinated to the next one that runs, as an election does.
    pub fn fail_over(&self, broker: i32) {
        let mut state = self.shared().lock();
        let Some(heir) = state.alive().into_iter().find(|id| *id != broker) else { return };
        let partitions = state.topics.values_mut().flat_map(|topic| topic.partitions.iter_mut());
        for partition in partitions.filter(|partition| partition.leader == Some(broker)) {
            partition.lead(heir);
        }
        let groups: Vec<String> = state.groups.keys().chain(state.committed.keys()).cloned().collect();
        for group in groups {
            if state.coordinator_of(&group) == Some(broker) {
                state.coordinators.insert(group, Some(heir));
            }
        }
        drop(state);
        self.shared().logs_changed();
    }

    /// Adds a broker and starts it on a free port.
    pub fn add_broker(&self, broker: i32) {
        self.shared().lock().nodes.insert(broker, Node::new(broker, "127.0.0.1".to_owned(), None));
        node::listen(self.shared(), broker, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    }

    /// Stops a broker and removes it from the cluster for good, its leaderships included.
    pub fn remove_broker(&self, broker: i32) {
        self.stop_broker(broker);
        self.fail_over(broker);
        let mut state = self.shared().lock();
        state.nodes.remove(&broker);
        for partition in state.topics.values_mut().flat_map(|topic| topic.partitions.iter_mut()) {
            partition.replicas.retain(|replica| *replica != broker);
        }
    }

    /// Restarts a broker on another port, as a replaced instance comes back elsewhere under the same id.
    pub fn change_port(&self, broker: i32) {
        let address = SocketAddr::new(self.address(broker).ip(), 0);
        node::listen(self.shared(), broker, address).expect("a free port");
    }

    /// Tells clients another host for a broker than before.
    pub fn change_host(&self, broker: i32, host: &str) {
        if let Some(node) = self.shared().lock().nodes.get_mut(&broker) {
            host.clone_into(&mut node.host);
        }
    }

    /// Tells clients a port at which the broker does not listen, until told `None`.
    pub fn advertise_port(&self, broker: i32, port: Option<u16>) {
        if let Some(node) = self.shared().lock().nodes.get_mut(&broker) {
            node.advertised_port = port;
        }
    }

    /// Makes a broker silent, as under SIGSTOP: connections are made and kept, nothing is read or answered.
    pub fn freeze_broker(&self, broker: i32) {
        self.set_frozen(broker, true);
    }

    /// Lets a silent broker go on where it was.
    pub fn thaw_broker(&self, broker: i32) {
        self.set_frozen(broker, false);
    }

    fn set_frozen(&self, broker: i32, frozen: bool) {
        if let Some(node) = self.shared().lock().nodes.get(&broker) {
            node.freeze(frozen);
        }
    }

    /// Makes a broker close connections as soon as they are made, before a TLS handshake or a byte; or no longer.
    pub fn hang_up(&self, broker: i32, hangs_up: bool) {
        if let Some(node) = self.shared().lock().nodes.get_mut(&broker) {
            node.hangs_up = hangs_up;
        }
    }

    /// Closes every connection to a broker.
    pub fn disconnect_all(&self, broker: i32) {
        let closing = self.shared().lock().nodes.get_mut(&broker).map(Node::disconnect_all);
        if let Some(closing) = closing {
            closing.close();
        }
    }

    /// Forgets the fetch sessions of a broker: the next incremental fetch is `FETCH_SESSION_ID_NOT_FOUND`.
    pub fn expire_fetch_sessions(&self, broker: i32) {
        if let Some(node) = self.shared().lock().nodes.get_mut(&broker) {
            node.sessions.clear();
        }
    }

    /// Moves the coordinator of a group; who waits there is told `NOT_COORDINATOR`, the members stay. `None`: there is none.
    pub fn move_coordinator(&self, group: &str, broker: Option<i32>) {
        let mut state = self.shared().lock();
        state.coordinators.insert(group.to_owned(), broker);
        if let Some(group) = state.groups.get_mut(group) {
            group.moved(Instant::now());
        }
        drop(state);
        self.shared().group_deadlines.notify_one();
    }

    /// Ends the session of one member now, as if it had not been heard of for too long.
    pub fn expire_member(&self, group: &str, member_id: &str) {
        let mut state = self.shared().lock();
        let settings = state.group_settings;
        if let Some(group) = state.groups.get_mut(group) {
            group.expire_member(member_id, &settings, Instant::now());
        }
        drop(state);
        self.shared().group_deadlines.notify_one();
    }

    /// Forgets a group with its members: whoever is in it is `UNKNOWN_MEMBER_ID`. Committed offsets stay.
    pub fn forget_group(&self, group: &str) {
        self.shared().lock().groups.remove(group);
    }

    /// Throttles an API: answers carry the time, Fetch answers are empty, and the socket stays muted for it (KIP-219).
    /// Zero ends it.
    pub fn throttle(&self, api: ApiKey, time: Duration) {
        self.shared().lock().throttles.insert(api, time);
    }

    /// Offers this range of an API from now on, as after an upgrade or a downgrade; clients see it when they reconnect.
    pub fn offer(&self, api: ApiKey, min: i16, max: i16) {
        self.shared().lock().offered.insert(api, VersionRange { min, max });
    }
}
