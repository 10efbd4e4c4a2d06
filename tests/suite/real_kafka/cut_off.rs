//! Two replicas share a ledger topic, and one of them is cut off from the brokers: bytes vanish and no connection ends. The
//! target it can still reach, so that only its lease keeps it from acting.

use std::net::SocketAddr;
use std::time::Duration;

use kafka_broker_double::target::{Reply, Target};

use crate::real_kafka::crash::judge;
use crate::real_kafka::replicas::{
    EPISODES, PARTITIONS, PATIENCE, Replica, TARGET_TAKES, both_get_work, calls, exported,
};
use crate::world::cable::Cable;
use crate::world::kafka::behind;
use crate::world::namespace::{self, Network};
use crate::world::process::wait_for;
use crate::world::settings::Brokers;
use crate::world::wire::Wire;

const TOPIC: &str = "cut-off";
const GROUP: &str = "cut-off-group";
const LEDGER: &str = "cut-off-ledger";
/// Where the brokers say that they listen for who logs in: an address of this machine with nobody at it but our cable.
const ADVERTISED: &str = "127.0.0.77";

/// How the way to the brokers is cut.
#[derive(Clone, Copy)]
enum Cut {
    /// Bytes vanish inside the cable, and what was connected stays broken.
    Cable,
    /// Packets vanish in the kernel, and a connection that nobody has given up delivers late what was sent meanwhile.
    Packets,
}

impl Cut {
    fn cut(self, cable: &Cable) {
        match self {
            Self::Cable => cable.cut(),
            Self::Packets => namespace::drop_packets(ADVERTISED),
        }
    }

    fn mend(self, cable: &Cable) {
        match self {
            Self::Cable => cable.mend(),
            Self::Packets => namespace::let_packets_through(ADVERTISED),
        }
    }
}

#[test]
fn every_episode_succeeds_once_while_a_replica_is_cut_off_from_the_brokers_alone() {
    every_episode_succeeds_once(Cut::Cable);
}

#[test]
fn every_episode_succeeds_once_while_packets_are_dropped_in_a_network_namespace() {
    let own_name = "real_kafka::cut_off::every_episode_succeeds_once_while_packets_are_dropped_in_a_network_namespace";
    if let Network::Own = namespace::enter(own_name) {
        every_episode_succeeds_once(Cut::Packets);
    }
}

fn every_episode_succeeds_once(by: Cut) {
    let Some(cluster) = behind(ADVERTISED) else { return };
    let advertised: SocketAddr = cluster.sasl_ssl.parse().expect("an address");
    let cable = Cable::lay(advertised, SocketAddr::from(([127, 0, 0, 1], advertised.port())));
    let mut wire = Wire::connect(&cluster.plaintext);
    wire.create_topic(TOPIC, PARTITIONS, &[]);
    let target = Target::start();
    target.default_reply(Reply::status(200).after(TARGET_TAKES));
    let brokers = Brokers::real(&cluster);
    let names = [TOPIC, GROUP, LEDGER];
    let cut_off = Replica::new(&brokers, &target, names);
    let direct = Replica::new(&brokers.at(cluster.plaintext.as_str()), &target, names).without_login();

    let (mut zombie, mut other) = (cut_off.start(), direct.start());
    let log_ends = both_get_work(&mut wire, TOPIC, [&mut zombie, &mut other]);

    calls(&target, EPISODES / 5, &other);
    by.cut(&cable);
    zombie.wait_readyz("it to notice", PATIENCE, |code, _| code == 503);
    other.wait_readyz("all partitions", PATIENCE, |code, body| code == 200 && body.contains("4 partitions"));
    let words = || format!("the work of the one that is cut off to be taken over\n{}", other.last_words());
    wait_for(words, PATIENCE, || other.log().contains("episode taken over").then_some(()));
    calls(&target, EPISODES * 3 / 5, &other);
    by.mend(&cable);

    let words = || format!("{log_ends:?} to be committed\n{}\n{}", other.last_words(), zombie.last_words());
    wait_for(words, PATIENCE, || (wire.committed(GROUP, TOPIC, PARTITIONS) == log_ends).then_some(()));
    zombie.wait_ready(PATIENCE);
    let story = exported(&direct);
    let words = || format!("both replicas to tell the same\n{}", zombie.last_words());
    wait_for(words, PATIENCE, || (exported(&cut_off) == story).then_some(()));
    println!("{}", judge(&story, EPISODES, &target.requests()));
    for service in [&mut zombie, &mut other] {
        assert!(service.stop(Duration::from_secs(30)).success(), "{}", service.last_words());
    }
}
