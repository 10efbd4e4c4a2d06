//! Keeps a cluster of the double up for a look with other clients: `cargo run -p kafka-broker-double --example serve`.
//!
//! Three plain brokers; topic `t` with four partitions holds a hundred records. Ends with the end of its standard input.

use std::io::{self, Read};

use kafka_broker_double::{Batch, Cluster, Record};

fn main() -> io::Result<()> {
    let cluster = Cluster::builder().brokers(3).topic("t", 4).start();
    for number in 0..100 {
        let record = Record::new(format!("value {number}")).key(format!("key {number}"));
        cluster.append("t", number % 4, &Batch::of([record]));
    }
    let mut aborted = cluster.begin_transaction();
    aborted.produce("t", 0, ["aborted: nobody who reads committed records sees this"]);
    aborted.abort();
    println!("{}", cluster.bootstrap());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
