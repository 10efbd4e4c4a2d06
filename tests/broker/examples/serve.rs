//! Keeps a cluster of the double up for a look with other clients.
//!
//!     cargo run -p kafka-broker-double --example serve [sasl_ssl]
//!
//! Three brokers; topic `t` with four partitions holds a hundred records and an aborted transaction. The first line of the
//! output is the bootstrap list; with `sasl_ssl` the lines after it are a Java client's properties for user `ann`. Ends
//! with the end of its standard input.

use std::io::{self, Read};

use kafka_broker_double::{Batch, Cluster, Record, Security};

fn main() -> io::Result<()> {
    let secure = std::env::args().any(|argument| argument == "sasl_ssl");
    let security = if secure { Security::sasl_ssl("ann", "secret") } else { Security::Plaintext };
    let cluster = Cluster::builder().brokers(3).topic("t", 4).security(security).start();
    for number in 0..100 {
        let record = Record::new(format!("value {number}")).key(format!("key {number}"));
        cluster.append("t", number % 4, &Batch::of([record]));
    }
    let mut aborted = cluster.begin_transaction();
    aborted.produce("t", 0, ["aborted: nobody who reads committed records sees this"]);
    aborted.abort();
    println!("{}", cluster.bootstrap());
    if secure {
        println!("security.protocol=SASL_SSL");
        println!("sasl.mechanism=SCRAM-SHA-512");
        let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
        println!("sasl.jaas.config={module} required username=\"ann\" password=\"secret\";");
        println!("ssl.truststore.type=PEM");
        println!("ssl.truststore.location={}", cluster.ca_file().display());
    }
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
