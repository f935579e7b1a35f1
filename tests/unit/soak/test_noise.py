from tests.soak.noise import echo


def test_noise_is_what_a_round_trip_of_one_byte_takes() -> None:
    with echo() as noise:
        for _ in range(20):
            noise.ask()
        assert len(noise.milliseconds) == 20
        assert noise.p99 > 0
        assert noise.lets_judge(noise.p99 * 10)
        assert not noise.lets_judge(noise.p99 * 9)
