-- The sample data: 10,000 users over the flags 0 to 9, the same on every machine.
--
-- The flags differ in size, so that the size of an answer is a dimension of every comparison:
--   flag   0   1   2   3    4    5    6      7      8      9
--   rows   1  10  20  50  100  200  500  1,000  2,000  6,119
--
-- Built under another name and renamed last: a load that is cut off leaves no half table behind.

DROP TABLE IF EXISTS users_unfinished;

CREATE TABLE users_unfinished (
    id        INT UNSIGNED    NOT NULL PRIMARY KEY,
    flag      INT             NOT NULL,
    name      VARCHAR(64)     NOT NULL,
    active    BOOLEAN         NOT NULL,
    visits    BIGINT UNSIGNED NOT NULL,
    score     DOUBLE          NULL,
    balance   DECIMAL(20, 4)  NOT NULL,
    born      DATE            NULL,
    wakes     TIME            NULL,
    joined    DATETIME(6)     NOT NULL,
    seen      TIMESTAMP       NULL,
    avatar    VARBINARY(32)   NULL,
    profile   JSON            NULL,
    note      TEXT            NULL,
    INDEX (flag)
) CHARACTER SET utf8mb4;

INSERT INTO users_unfinished
SELECT
    n + 1,
    CASE
        WHEN n < 1 THEN 0 WHEN n < 11 THEN 1 WHEN n < 31 THEN 2 WHEN n < 81 THEN 3
        WHEN n < 181 THEN 4 WHEN n < 381 THEN 5 WHEN n < 881 THEN 6 WHEN n < 1881 THEN 7
        WHEN n < 3881 THEN 8 ELSE 9
    END,
    CONCAT(ELT(1 + n % 6, 'Ada', 'Børge', 'Chloé', 'Đorđe', '恵美', 'Zoë 🐇'), ' ', n + 1),
    n % 3 <> 0,
    IF(n = 5, 18446744073709551615, n * 7919),
    IF(n % 11 = 0, NULL, n / 7e0),
    (n - 5000) * 1234567.0001,
    IF(n % 13 = 0, NULL, DATE_ADD('1950-01-01', INTERVAL n DAY)),
    IF(n % 17 = 0, NULL, SEC_TO_TIME(n * 8 % 86400)),
    DATE_ADD('2020-02-29 23:59:59.000001', INTERVAL n * 61 SECOND),
    IF(n % 5 = 0, NULL, DATE_ADD('2024-01-01 12:00:00', INTERVAL n MINUTE)),
    IF(n % 7 = 0, NULL, UNHEX(LEFT(SHA2(n, 256), 32))),
    IF(n % 4 = 0, NULL, JSON_OBJECT('tags', JSON_ARRAY('a', n % 10), 'nested', JSON_OBJECT('π', 3.14, 'none', NULL))),
    IF(n % 2 = 0, NULL, CONCAT('line one\nline "two"\t', n))
FROM (
    SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d AS n
    FROM (SELECT 0 AS d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4
          UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) AS a,
         (SELECT 0 AS d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4
          UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) AS b,
         (SELECT 0 AS d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4
          UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) AS c,
         (SELECT 0 AS d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4
          UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) AS d
) AS numbers;

-- In the first seconds of a table without statistics, each query reads all of it.
ANALYZE TABLE users_unfinished;

RENAME TABLE users_unfinished TO users;
