-- name: users(flag, delay)
-- The users with a flag, ordered by id.
-- The derived table makes the database sleep once, inside the statement, however many rows follow.
SELECT users.* FROM (SELECT SLEEP(:delay)) AS pause, users WHERE users.flag = :flag ORDER BY users.id

-- name: count_users()
-- How many users each flag has.
SELECT flag, COUNT(*) AS users FROM users GROUP BY flag ORDER BY flag
