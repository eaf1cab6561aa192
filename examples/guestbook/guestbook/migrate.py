"""`python -m guestbook.migrate`: bring the database to this version. Safe to run again, and on several hosts at once."""

import sys

from guestbook import store

STEPS = [
    """CREATE TABLE IF NOT EXISTS entry (
        id BIGINT AUTO_INCREMENT PRIMARY KEY,
        author VARCHAR(60) NOT NULL,
        text VARCHAR(500) NOT NULL,
        created DATETIME NOT NULL
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4""",
    """CREATE TABLE IF NOT EXISTS job_result (
        entry BIGINT PRIMARY KEY,
        words INT NOT NULL,
        host VARCHAR(255) NOT NULL,
        done DATETIME NOT NULL,
        FOREIGN KEY (entry) REFERENCES entry (id) ON DELETE CASCADE
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4""",
]


def main():
    try:
        with store.database() as cursor:
            # One host at a time; the lock goes with the connection.
            cursor.execute("SELECT GET_LOCK(CONCAT('guestbook_migrate_', DATABASE()), 8)")
            if cursor.fetchone()[0] != 1:
                return "another migration is running"
            cursor.execute("CREATE TABLE IF NOT EXISTS migration (step INT PRIMARY KEY)")
            cursor.execute("SELECT step FROM migration")
            done = {row[0] for row in cursor.fetchall()}
            for number, statement in enumerate(STEPS, 1):
                if number not in done:
                    cursor.execute(statement)
                    cursor.execute("INSERT INTO migration (step) VALUES (%s)", (number,))
                    print(f"step {number} done")
    except store.Unavailable as error:
        return str(error)
    print("the database is up to date")
    return None


if __name__ == "__main__":
    sys.exit(main())
