use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lunasec_client::StoredToken;
use rusqlite::{Connection, Error, OptionalExtension, Row, types::Type};

use crate::Customer;

/// Customers in SQLite.
#[derive(Clone)]
pub struct Database(Arc<Mutex<Connection>>);

impl Database {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "create table if not exists customers (id integer primary key, name text not null, card text not null, city text not null)",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn insert(&self, customer: &Customer) -> Result<i64, Error> {
        let connection = self.lock();
        connection.execute(
            "insert into customers (name, card, city) values (?1, ?2, ?3)",
            (customer.name.expose(), customer.card.expose(), &customer.city),
        )?;
        Ok(connection.last_insert_rowid())
    }

    pub fn all(&self) -> Result<Vec<Customer>, Error> {
        let connection = self.lock();
        let mut query =
            connection.prepare("select id, name, card, city from customers order by id")?;
        query.query_map((), customer)?.collect()
    }

    pub fn one(&self, id: i64) -> Result<Option<Customer>, Error> {
        let sql = "select id, name, card, city from customers where id = ?1";
        self.lock().query_row(sql, (id,), customer).optional()
    }

    pub fn remove(&self, id: i64) -> Result<(), Error> {
        self.lock().execute("delete from customers where id = ?1", (id,)).map(drop)
    }
}

fn customer(row: &Row<'_>) -> Result<Customer, Error> {
    Ok(Customer { id: row.get(0)?, name: token(row, 1)?, card: token(row, 2)?, city: row.get(3)? })
}

/// What is no token is refused here already, and not shown.
fn token(row: &Row<'_>, column: usize) -> Result<StoredToken, Error> {
    let text: String = row.get(column)?;
    StoredToken::try_from(text.as_str())
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}
