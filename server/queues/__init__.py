"""Producer and consumer: bounded queues, in which each message is for one consumer."""
