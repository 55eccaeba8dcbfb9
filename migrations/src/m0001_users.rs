//! One row a person, by user id.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(UP).await.map(drop)
    }
}

const UP: &str = r"
-- The position is the middle of a coarse cell, snapped before it was stored anywhere, and the deck is
-- read from Redis: two doubles say all that is known, and PostGIS would be one more thing to install,
-- upgrade and distribute, for no query.
CREATE TABLE users (
    user_id uuid PRIMARY KEY,
    email text NOT NULL,
    password_hash text NOT NULL,
    display_name text NOT NULL,
    bio text NOT NULL,
    avatar_url text,
    birth_date date NOT NULL,
    gender text NOT NULL CHECK (gender IN ('FEMALE', 'MALE', 'NON_BINARY')),
    side text NOT NULL CHECK (side IN ('PATRON', 'CREATOR')),
    preferences jsonb NOT NULL,
    verification_status text NOT NULL
        CHECK (verification_status IN ('unverified', 'pending', 'verified', 'rejected')),
    latitude double precision CHECK (latitude BETWEEN -90 AND 90),
    longitude double precision CHECK (longitude BETWEEN -180 AND 180),
    last_active_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    registration_id uuid NOT NULL,
    version bigint NOT NULL,
    CHECK ((latitude IS NULL) = (longitude IS NULL))
);
CREATE INDEX idx_users_location ON users (latitude, longitude) WHERE latitude IS NOT NULL;
CREATE INDEX idx_users_last_active ON users (last_active_at);
";
