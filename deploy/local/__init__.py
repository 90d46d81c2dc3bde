"""The local stack: private RabbitMQ and MariaDB, sample data, one worker, one server."""
