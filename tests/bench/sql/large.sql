-- 16 MB of users: those of the largest flag, eight times.
SELECT users.* FROM users
JOIN (SELECT 1 AS n UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7
      UNION SELECT 8) AS times
WHERE users.flag = 9
