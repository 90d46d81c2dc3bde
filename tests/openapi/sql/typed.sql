-- name: typed(text, number, amount, yes, day, moment, token)
-- A value of each type, as it has come.
SELECT :text AS text, :number AS number, :amount AS amount, :yes AS yes, :day AS day, :moment AS moment, :token AS token

-- name: of_flag(flag, behind)
-- Up to ten users with a flag, behind an id.
SELECT * FROM users WHERE flag = :flag AND id > :behind ORDER BY id LIMIT 10

-- name: rename(id, name)
-- Gives a user another name.
UPDATE users SET name = :name WHERE id = :id
-- name: users(flag, delay)
-- The users with a flag, ordered by id.
-- The derived table makes the database sleep once, inside the statement, however many rows follow.
SELECT users.* FROM (SELECT SLEEP(:delay)) AS pause, users WHERE users.flag = :flag ORDER BY users.id
