# What may reach the pod: port 4080 (status page, probes, metrics). Egress needs 53, 80, 443, 4080 and 4443.
module "kafka_consumer_network_policy" {
  source = "tf-omega-app-network-policy"

  omega_app_name  = "kafka-consumer"
  omega_app_ports = [4080]
  cloud_provider  = "omega-aws"
  cloud_clusters  = ["centraltech-nonprod1"]
}
